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
    """One request's loss.

    Attributes:
        loss: Its value, whose dimensions may be joined; nothing of interest for a vector-Jacobian product.
        grad_output: Its gradient with respect to the request's rows of the output.
    """

    loss: Array
    grad_output: Tensor


def evaluate(model: Model, works: Sequence[GradientWork], outputs: Sequence[Tensor]) -> list[Evaluation | ServiceError]:
    """Evaluate the loss of each request on its rows of the output [N_i, ...], or say why it is refused.

    Those with the same loss are computed in one go; what is refused of one loss is no matter of the others.
    """
    if len(works) == 1:
        return list(_evaluate_group(model, works[0].plan.row_loss or 0, works, outputs))
    groups: dict[RowLoss | int, list[int]] = {}
    for index, work in enumerate(works):
        groups.setdefault(work.plan.row_loss or index, []).append(index)
    found: dict[int, Evaluation | ServiceError] = {}
    for row_loss, members in groups.items():
        own = [works[index] for index in members], [outputs[index] for index in members]
        found.update(zip(members, _evaluate_group(model, row_loss, *own), strict=True))
    return [found[index] for index in range(len(works))]


def _evaluate_group(
    model: Model, row_loss: RowLoss | int, works: Sequence[GradientWork], outputs: Sequence[Tensor]
) -> Sequence[Evaluation | ServiceError]:
    try:
        with torch_refusals("Gradient", model.dtype, model.device):
            if isinstance(row_loss, int):
                return [_alone(model, works[0], outputs[0])]
            return _together(model, row_loss, works, outputs)
    except ServiceError as refusal:
        return [refusal] * len(works)


def _together(
    model: Model, row_loss: RowLoss, works: Sequence[GradientWork], outputs: Sequence[Tensor]
) -> Sequence[Evaluation]:
    output = outputs[0] if len(outputs) == 1 else torch.cat(list(outputs))
    rows, counted = [output.size(0) for output in outputs], [work.counted for work in works]
    shares = shares_of(model, row_loss, works, tuple(output.shape[1:]), rows, counted)
    losses, grad_output = differentiate(row_loss, output, shares)
    values, places = to_numpy(losses), spans(shares.rows)
    # Of a loss that is not reduced each row has a value, else each request.
    own = places if row_loss.reduction == "none" else spans([1] * len(works))
    parts = [part(grad_output, rows) for rows in places]
    return [Evaluation(part(values, rows), gradient) for rows, gradient in zip(own, parts, strict=True)]


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
    return Evaluation(to_numpy(value), grad_output)
