"""What torch in process answers to Jacobian: each row's as torch.func gives it for that row alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacfwd, jacrev, jvp, vjp

from tests.support.oracle import (
    Answer,
    Hosted,
    Question,
    RefusedError,
    draws_random_numbers,
    leaves_of,
    refusals,
    run,
    vector_gradients,
)

_Leaves: TypeAlias = Mapping[str, Tensor]

_OF_CHANNELS = (nn.BatchNorm1d, nn.Flatten, nn.GroupNorm)


@dataclass(frozen=True)
class JacobianQuestion(Question):
    """The computing part of a JacobianRequest.

    Attributes:
        mode: "REVERSE", "FORWARD", or "UNSPECIFIED" for the one that takes fewer passes.
        chunk_size: The most products at once.
    """

    mode: str = "UNSPECIFIED"
    chunk_size: int | None = None


def jacobian(model: Hosted, question: JacobianQuestion) -> Answer:
    """Computes the Jacobians by name, as the answer's gradients; use a model once."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d)]
    if not all(norm.track_running_stats for norm in norms):
        raise RefusedError("Jacobian is not implemented for BatchNorm1d without running statistics")
    if norms and question.training:
        raise RefusedError("BatchNorm1d computes its statistics over the rows")
    with refusals():
        row, x = _row(model, question.input), question.input
        leading = x.shape[: x.ndim - len(row)]
        whole = run(model, question, x).detach()
        leaves = leaves_of(model, question, x.new_empty(row))
        output_row = whole.shape[len(leading) :]
        if not x.numel():
            empty = {name: leaf.new_empty((*leading, *output_row, *leaf.shape)) for name, leaf in leaves.items()}
            return Answer(whole, gradients=empty)
        if question.mode == "UNSPECIFIED":
            forward = sum(leaf.numel() for leaf in leaves.values()) < output_row.numel()
            question = replace(question, mode="FORWARD" if forward else "REVERSE")
        random = question.training and draws_random_numbers(model)
        compute = _of_rows if not random else _of_batch_forward if question.mode == "FORWARD" else _of_batch
        output, found = compute(model, question, x.reshape((-1, *row)))
        shaped = {
            name: found[name].detach().reshape((*leading, *output_row, *leaf.shape)).to(leaf.dtype)
            for name, leaf in leaves.items()
        }
        return Answer(output.detach().reshape(whole.shape), gradients=shaped)


def _row(model: Hosted, x: Tensor) -> tuple[int, ...]:
    channels = any(
        isinstance(layer, _OF_CHANNELS) or (isinstance(layer, nn.PReLU) and layer.num_parameters > 1)
        for layer in model.modules()
    )
    return tuple(x.shape[1:] if channels else x.shape[-1:])


def _of_rows(model: Hosted, question: JacobianQuestion, rows: Tensor) -> tuple[Tensor, _Leaves]:
    outputs, found = [], []
    for index in range(len(rows)):
        x = rows[index : index + 1]
        leaves = {name: leaf.detach() for name, leaf in leaves_of(model, question, x).items()}

        def output_of(leaves: _Leaves, x: Tensor = x) -> Tensor:
            parameters = {name: leaf for name, leaf in leaves.items() if name != "input"}
            output: Tensor = functional_call(model, parameters, (leaves.get("input", x),))
            return output[0]

        outputs.append(output_of(leaves))
        found.append(_transformed(output_of, leaves, question))
    return torch.stack(outputs), {name: torch.stack([own[name] for own in found]) for name in found[0]}


def _transformed(output_of: Callable[[_Leaves], Tensor], leaves: _Leaves, question: JacobianQuestion) -> _Leaves:
    try:
        if question.mode == "FORWARD":
            return jacfwd(output_of)(leaves)
        return jacrev(output_of, chunk_size=question.chunk_size)(leaves)
    except RuntimeError:
        # torch cannot vectorise some of its kernels.
        return (_pushed if question.mode == "FORWARD" else _pulled)(output_of, leaves)


def _pulled(output_of: Callable[[_Leaves], Tensor], leaves: _Leaves) -> _Leaves:
    output, pull = vjp(output_of, leaves)
    found = [pull(unit.reshape(output.shape))[0] for unit in torch.eye(output.numel(), dtype=output.dtype)]
    return {name: torch.stack([own[name] for own in found]) for name in leaves}


def _pushed(output_of: Callable[[_Leaves], Tensor], leaves: _Leaves) -> _Leaves:
    found = {}
    for name, leaf in leaves.items():
        columns = []
        for unit in torch.eye(leaf.numel(), dtype=leaf.dtype):
            tangents = {other: torch.zeros_like(own) for other, own in leaves.items()}
            _, column = jvp(output_of, (leaves,), ({**tangents, name: unit.reshape(leaf.shape)},))
            columns.append(column)
        found[name] = torch.stack(columns, -1)
    return found


def _of_batch(model: Hosted, question: JacobianQuestion, rows: Tensor) -> tuple[Tensor, _Leaves]:
    """Where random layers draw one mask for all rows, a row has no model of its own: it is taken from the batch's."""
    x = question.input.detach().requires_grad_("input" in (question.wrt or ("input",)))
    output = run(model, question, x)
    leaves = leaves_of(model, question, x)
    units = torch.eye(output.numel(), dtype=output.dtype).reshape((-1, *output.shape))
    size = question.chunk_size or len(units)
    parts = [vector_gradients(output, list(leaves.values()), part, batched=True) for part in units.split(size)]
    found = dict(zip(leaves, (torch.cat(column) for column in zip(*parts, strict=True)), strict=True))
    if "input" in found:
        count = len(rows)
        own = found["input"].reshape(count, -1, count, rows[0].numel())
        found["input"] = torch.stack([own[index, :, index] for index in range(count)])
    return output, found


def _of_batch_forward(model: Hosted, question: JacobianQuestion, rows: Tensor) -> tuple[Tensor, _Leaves]:
    """The same by directions, each of them of all rows."""
    x = question.input
    leaves = {name: leaf.detach() for name, leaf in leaves_of(model, question, x).items()}
    zeros = {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}

    def output_of(leaves: _Leaves) -> Tensor:
        torch.manual_seed(question.seed)
        parameters = {name: leaf for name, leaf in leaves.items() if name != "input"}
        output: Tensor = functional_call(model, parameters, (leaves.get("input", x),))
        return output

    found = {}
    for name, leaf in leaves.items():
        one = rows[0] if name == "input" else leaf
        columns = []
        for unit in torch.eye(one.numel(), dtype=leaf.dtype):
            tangent = unit.repeat(len(rows)) if name == "input" else unit
            _, column = jvp(output_of, (leaves,), ({**zeros, name: tangent.reshape(leaf.shape)},))
            columns.append(column)
        found[name] = torch.stack(columns, -1)
    return output_of(leaves), found
