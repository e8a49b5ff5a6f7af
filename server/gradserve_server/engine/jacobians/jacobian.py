"""Jacobian: how the output of each row changes with that row's input, and with parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from gradserve_server.engine.jacobians import plan
from gradserve_server.engine.jacobians.batch import by_directions, by_graph
from gradserve_server.engine.jacobians.plan import JacobianWork
from gradserve_server.engine.jacobians.rows import by_row
from gradserve_server.engine.model import Model
from gradserve_server.engine.network.pullback import Pullback
from gradserve_server.engine.network.rows import join
from gradserve_server.engine.tensors import to_numpy, torch_dtype
from gradserve_server.errors import ServiceError
from gradserve_server.operations.calls import JacobianMode
from gradserve_server.operations.results import JacobianResult
from gradserve_server.selection import INPUT

prepare = plan.prepare

_Way: TypeAlias = Callable[[Model, JacobianWork, int | None], tuple[Tensor, Mapping[str, Tensor]]]
"""Gives the output, and the Jacobians by name, each with all the elements of its shape."""


def compute(model: Model, works: Sequence[JacobianWork]) -> list[JacobianResult | ServiceError]:
    """Compute the Jacobians of a work that `prepare` made for this model.

    Returns:
        The result, or why torch refused it.
    """
    (work,) = works
    try:
        return [_computed(model, work)]
    except ServiceError as refusal:
        return [refusal]


def _computed(model: Model, work: JacobianWork) -> JacobianResult:
    call = work.call
    with model.computing("Jacobian", call) as seed:
        output, found = _way(model, work)(model, work, seed)
        jacobians = {name: found[name].reshape(work.point.shape(name)) for name in work.point.leaves}
        if work.selection.input:
            jacobians[INPUT] = jacobians[INPUT].to(torch_dtype(call.input.dtype))
        return JacobianResult(
            jacobians={name: to_numpy(jacobian) for name, jacobian in jacobians.items()},
            output=to_numpy(output.reshape(work.input.output_shape)) if call.return_output else None,
            seed=seed,
        )


def _way(model: Model, work: JacobianWork) -> _Way:
    if not work.point.rows or not work.point.elements:
        return _without_rows
    random, reverse = model.is_random(work.call), work.mode is JacobianMode.REVERSE
    if work.call.deterministic and not random:
        return by_row
    if not reverse:
        return by_directions
    return by_graph if random else _traced


def _without_rows(model: Model, work: JacobianWork, _: int | None) -> tuple[Tensor, Mapping[str, Tensor]]:
    empty = torch.empty(0, dtype=model.dtype, device=model.device)
    return empty, dict.fromkeys(work.point.leaves, empty)


def _traced(model: Model, work: JacobianWork, _: int | None) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Without the tape: each element of a row's output goes back as one more row."""
    point = work.point
    row = work.input.row
    values = model.stack.trace(join([work.call.input], row, model.dtype, model.device))
    outputs = point.outputs
    unit = torch.eye(outputs, dtype=model.dtype, device=model.device)
    vectors = unit[:, None].expand(outputs, point.rows, outputs).reshape(outputs, *values[-1].shape)
    to_input, found = Pullback(model.stack, values).products(
        vectors,
        frozenset(work.selection.parameters),
        groups=point.rows,
        to_input=work.selection.input,
        at_once=work.call.chunk_size,
    )
    # Of [outputs, rows, ...] rows come first.
    jacobians = {name: product.transpose(0, 1) for name, product in found.items()}
    if work.selection.input:
        jacobians[INPUT] = to_input.reshape(outputs, point.rows, -1).transpose(0, 1)
    return values[-1], jacobians
