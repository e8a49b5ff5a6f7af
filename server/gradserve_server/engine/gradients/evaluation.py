"""What the requests of a batch differentiate: each one's loss of its own rows of the output, and its derivative."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gradserve_server.engine.gradients.objective import objective_of
from gradserve_server.engine.gradients.work import GradientWork
from gradserve_server.engine.losses.rows import RowLoss, Shares, differentiate
from gradserve_server.engine.model import Model
from gradserve_server.engine.network.rows import join, part, spans
from gradserve_server.engine.network.shapes import Shape
from gradserve_server.engine.refusals import torch_refusals
from gradserve_server.engine.tensors import to_numpy
from gradserve_server.errors import ServiceError
from gradserve_server.operations.arrays import Array


class Evaluation(NamedTuple):
    """The losses of requests whose rows lie one behind the other.

    Attributes:
        losses: Each one's value, whose dimensions may be joined, or why it is refused; nothing of interest for a
            vector-Jacobian product.
        values: What the losses are parts of.
        grad_output: The gradient of each one's loss with respect to its rows of the output, in the place of these.
    """

    losses: Sequence[Array | ServiceError]
    values: Sequence[Array]
    grad_output: Tensor


def evaluate(model: Model, works: Sequence[GradientWork], output: Tensor) -> Evaluation:
    """Evaluate the loss of each request on its rows of the output [N, ...].

    Those with the same loss are computed in one go; what is refused of one loss is no matter of the others.
    """
    groups: dict[RowLoss | int, list[int]] = {}
    for index, work in enumerate(works):
        groups.setdefault(work.plan.row_loss or index, []).append(index)
    if len(groups) == 1:
        return _evaluate_group(model, next(iter(groups)), works, output)
    places = _places(works)
    losses: dict[int, Array | ServiceError] = {}
    gradients: dict[int, Tensor] = {}
    values: list[Array] = []
    for row_loss, members in groups.items():
        own = [works[index] for index in members]
        found = _evaluate_group(model, row_loss, own, torch.cat([part(output, places[index]) for index in members]))
        losses.update(zip(members, found.losses, strict=True))
        own_gradients = [part(found.grad_output, rows) for rows in _places(own)]
        gradients.update(zip(members, own_gradients, strict=True))
        values += found.values
    everyone = range(len(works))
    grad_output = torch.cat([gradients[index] for index in everyone])
    return Evaluation([losses[index] for index in everyone], values, grad_output)


def _places(works: Sequence[GradientWork]) -> list[slice | None]:
    """Where the rows of each lie."""
    return spans([work.plan.input.count for work in works])


def _evaluate_group(model: Model, row_loss: RowLoss | int, works: Sequence[GradientWork], output: Tensor) -> Evaluation:
    try:
        with torch_refusals("Gradient", model.dtype, model.device):
            if isinstance(row_loss, int):
                return _alone(model, works[0], output)
            return _together(model, row_loss, works, output)
    except ServiceError as refusal:
        # Nothing comes of a refused request, but its rows are still among the others.
        return Evaluation([refusal] * len(works), (), torch.zeros_like(output))


def _together(model: Model, row_loss: RowLoss, works: Sequence[GradientWork], output: Tensor) -> Evaluation:
    rows, counted = [work.plan.input.count for work in works], [work.counted for work in works]
    shares = shares_of(model, row_loss, works, tuple(output.shape[1:]), rows, counted)
    losses, grad_output = differentiate(row_loss, output, shares)
    values = to_numpy(losses)
    # Of a loss that is not reduced each row has a value, else each request.
    places = spans(shares.rows if row_loss.reduction == "none" else [1] * len(works))
    return Evaluation([part(values, rows) for rows in places], (values,), grad_output)


def shares_of(
    model: Model,
    row_loss: RowLoss,
    works: Sequence[GradientWork],
    output_row: Shape,
    rows: Sequence[int],
    counted: Sequence[int],
) -> Shares:
    """What requests bring to their common loss: their tensors, and in how many shares of how many rows they count."""
    losses = [work.call.loss for work in works if work.call.loss is not None]
    targets = [loss.target for loss in losses if loss.target is not None]
    vectors = [work.call.grad_output for work in works if work.call.grad_output is not None]
    dtype = torch.int64 if row_loss.by_id else model.dtype
    return Shares(
        rows=rows,
        counted=counted,
        target=join(targets, row_loss.target_row(output_row), dtype, model.device) if targets else None,
        vector=join(vectors, row_loss.value_row(output_row), model.dtype, model.device) if vectors else None,
    )


def _alone(model: Model, work: GradientWork, output: Tensor) -> Evaluation:
    output_shape = work.plan.input.output_shape
    objective = objective_of(model, work.plan.loss, work.call, output_shape)
    leaf = output.detach().requires_grad_()
    value, (grad_output,) = objective.gradients(leaf.reshape(output_shape), (leaf,))
    values = to_numpy(value)
    return Evaluation((values,), (values,), grad_output)
