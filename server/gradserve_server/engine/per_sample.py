"""Per-sample gradients: row i of the answer is what Gradient gives for `input[i:i+1]` and `target[i:i+1]`.

Three ways to the same numbers. A loop over the rows is bit-equal to asking for each. Where random layers draw one
mask for the whole batch, the rows are taken from the one graph of that batch. Otherwise torch.func.vmap computes all
rows at once, unless a layer or a loss has no batching rule.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value, vmap

from gradserve_server.engine.model import Model
from gradserve_server.engine.objective import Objective
from gradserve_server.errors import ResourceExhausted
from gradserve_server.operations import GradientCall
from gradserve_server.selection import INPUT, Selection

Answer: TypeAlias = tuple[Tensor, Tensor, dict[str, Tensor]]
"""The values [N] (or unreduced, where a vector weights them), the output, and the gradients [N, *shape]."""

# A loop holds the device for as long as it runs; over one graph each row costs as much as the whole batch.
_MOST_LOOPED_ROWS = 16_384
_MOST_ROWS_OF_ONE_GRAPH = 1_024


def gradients(model: Model, call: GradientCall, selection: Selection, objective: Objective) -> Answer:
    """Compute the values, the output and the per-sample gradients of a batch of rows along dimension 0."""
    if not call.input.shape[0]:
        return _no_rows(model, call, selection, objective)
    if model.is_random(call):
        _check_loop(call, _MOST_ROWS_OF_ONE_GRAPH, "where random layers draw one mask for the batch")
        return _from_one_graph(model, call, selection, objective)
    if call.deterministic:
        return _row_by_row(model, call, selection, objective)
    try:
        answer = _vectorised(model, call, selection, objective)
    except (RuntimeError, ZeroDivisionError):
        # RReLU has no batching rule and gaussian_nll_loss looks at its values; what torch refuses for another
        # reason, the loop will meet again.
        return _row_by_row(model, call, selection, objective)
    # vmap takes some losses apart into steps that turn an infinity into NaN where torch's own kernel does not.
    return answer if _is_finite(answer) else _row_by_row(model, call, selection, objective)


def _check_loop(call: GradientCall, most: int, where: str) -> None:
    if (rows := call.input.shape[0]) > most:
        message = f"per_sample takes at most {most} rows {where}, got {rows}: send fewer at a time"
        raise ResourceExhausted(message, field="input.shape", reason="TOO_MANY_ROWS")


def _row_by_row(model: Model, call: GradientCall, selection: Selection, objective: Objective) -> Answer:
    _check_loop(call, _MOST_LOOPED_ROWS, "where it must go row by row")
    parameters = [model.parameters[name] for name in selection.parameters]
    batch = model.leaf(call)

    def row(index: int) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        leaf = batch[index : index + 1].requires_grad_(selection.input)
        output = model.run(leaf, training=call.training)
        leaves = [*parameters, leaf] if selection.input else parameters
        value, found = objective.row(index).gradients(output, leaves)
        return value.detach(), output.detach(), found

    return _stacked(row, call.input.shape[0], selection, objective)


def _from_one_graph(model: Model, call: GradientCall, selection: Selection, objective: Objective) -> Answer:
    parameters = [model.parameters[name] for name in selection.parameters]
    batch = model.leaf(call).requires_grad_(selection.input)
    outputs = model.run(batch, training=call.training)
    leaves = [*parameters, batch] if selection.input else parameters

    def row(index: int) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        output = outputs[index : index + 1]
        value, found = objective.row(index).gradients(output, leaves, retain_graph=True)
        if selection.input:
            # A clone, as a view would keep the gradients of the whole batch.
            found = (*found[:-1], found[-1][index : index + 1].clone())
        return value.detach(), output.detach(), found

    return _stacked(row, call.input.shape[0], selection, objective)


def _stacked(
    row: Callable[[int], tuple[Tensor, Tensor, tuple[Tensor, ...]]],
    rows: int,
    selection: Selection,
    objective: Objective,
) -> Answer:
    values, outputs, found = zip(*(row(index) for index in range(rows)), strict=True)
    columns = list(zip(*found, strict=True))
    stacked = {name: torch.stack(column) for name, column in zip(selection.parameters, columns, strict=False)}
    if selection.input:
        stacked[INPUT] = torch.cat(columns[-1])
    return _joined(values, objective), torch.cat(outputs), stacked


def _joined(values: tuple[Tensor, ...], objective: Objective) -> Tensor:
    if objective.criterion is None or objective.vector is not None:
        return torch.cat(values)
    return torch.stack([value.reshape(()) for value in values])


def _vectorised(model: Model, call: GradientCall, selection: Selection, objective: Objective) -> Answer:
    if objective.criterion is not None and objective.criterion.kind.probabilities:
        with torch.no_grad():
            objective.criterion.check_output(model.run(model.leaf(call), training=call.training))
    per_row = objective.per_row()

    def value_of(
        leaves: dict[str, Tensor], row: Tensor, tensors: dict[str, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        value_in = leaves.get(INPUT, row)[None].to(model.dtype)
        parameters = {name: leaves[name] for name in selection.parameters}
        output = functional_call(model.module, parameters, (value_in,))
        own = objective.on({name: tensor[None] for name, tensor in tensors.items()})
        value = output if own.criterion is None else own.criterion(output)
        root = value.sum() if own.vector is None else (value * own.vector).sum()
        return root, (value, output)

    model.module.train(call.training)
    batch = model.leaf(call)
    leaves = {name: model.parameters[name].detach() for name in selection.parameters}
    in_dims = dict.fromkeys(leaves)
    if selection.input:
        leaves[INPUT], in_dims[INPUT] = batch, 0
    differentiate = grad_and_value(value_of, has_aux=True)
    found, (_, (values, outputs)) = vmap(differentiate, in_dims=(in_dims, 0, 0))(leaves, batch, per_row)
    rows = call.input.shape[0]
    weighted = objective.criterion is None or objective.vector is not None
    values = values.flatten(0, 1) if weighted else values.reshape(rows)
    return values, outputs.flatten(0, 1), found


def _is_finite(answer: Answer) -> bool:
    values, _, found = answer
    return all(bool(tensor.isfinite().all()) for tensor in (values, *found.values()))


def _no_rows(model: Model, call: GradientCall, selection: Selection, objective: Objective) -> Answer:
    with torch.no_grad():
        output = model.run(model.leaf(call), training=call.training)
        weighted = objective.criterion is None or objective.vector is not None
        values = objective.value(output) if weighted else output.new_empty(0)
    found = {
        name: model.parameters[name].new_empty((0, *model.parameters[name].shape)) for name in selection.parameters
    }
    if selection.input:
        found[INPUT] = model.leaf(call)
    return values, output, found
