"""What the rows of one request differentiate: the loss of each row by itself, and its derivative."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

from gradserve_server.engine.gradients.evaluation import shares_of
from gradserve_server.engine.gradients.objective import Objective
from gradserve_server.engine.gradients.work import GradientWork
from gradserve_server.engine.losses.rows import differentiate
from gradserve_server.engine.losses.target_values import ignored_ids
from gradserve_server.engine.model import Model

_Evaluated: TypeAlias = tuple[Tensor, Tensor]
"""The losses, and the gradient of each with respect to its part of the output."""


def evaluate_rows(model: Model, work: GradientWork, objective: Objective, output: Tensor) -> _Evaluated:
    """Evaluate the loss of each sample.

    Args:
        model: Which computed the output.
        work: The request, for N samples.
        objective: What it differentiates.
        output: As the stack gave it: [N * R, ...], with R rows of a sample behind each other.

    Returns:
        The losses [N], or unreduced where a vector weights them, and the gradient of the output.

    Raises:
        InvalidArgument: If the loss cannot take the output's values.
    """
    samples, row_loss = work.call.input.shape[0], work.plan.row_loss
    if row_loss is None:
        losses, grad_output = _by_objective(objective, output.reshape(work.plan.input.output_shape))
        return losses, grad_output.reshape(output.shape)
    rows = [output.size(0) // samples] * samples
    shares = shares_of(model, row_loss, [work], tuple(output.shape[1:]), rows, _counted(work, samples))
    losses, grad_output = differentiate(row_loss, output, shares)
    return losses if shares.vector is not None else losses.reshape(samples), grad_output


def _counted(work: GradientWork, samples: int) -> list[int]:
    """How many values of each sample's loss a mean counts."""
    plan, call = work.plan, work.call
    each = plan.values // samples
    if work.counted == plan.values or plan.loss is None or call.loss is None or call.loss.target is None:
        return [each] * samples
    if plan.loss.reduction != "mean":
        # Nothing is divided: what is ignored is zero.
        return [each] * samples
    ignored = ignored_ids(plan.loss, call.loss.target).reshape(samples, -1).sum(1)
    return [each - int(count) for count in ignored]


def _by_objective(objective: Objective, output: Tensor) -> _Evaluated:
    try:
        losses, grad_output = _vectorised(objective, output)
    except (RuntimeError, ZeroDivisionError):
        # gaussian_nll_loss looks at its values; what torch refuses for another reason, the loop will meet again.
        return _one_by_one(objective, output)
    # vmap takes some losses apart into steps that turn an infinity into NaN where torch's own kernel does not.
    finite = bool(losses.isfinite().all()) and bool(grad_output.isfinite().all())
    return (losses, grad_output) if finite else _one_by_one(objective, output)


def _vectorised(objective: Objective, output: Tensor) -> _Evaluated:
    if objective.criterion is not None:
        objective.criterion.check_output(output)

    def weighted(row: Tensor, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        own = objective.on({name: tensor[None] for name, tensor in tensors.items()})
        value = row[None] if own.criterion is None else own.criterion(row[None])
        return (value if own.vector is None else value * own.vector).sum(), value

    grad_output, (_, losses) = vmap(grad_and_value(weighted, has_aux=True))(output, objective.per_row())
    return _flat(losses, objective), grad_output


def _one_by_one(objective: Objective, output: Tensor) -> _Evaluated:
    losses, gradients = [], []
    for index in range(output.size(0)):
        leaf = output[index : index + 1].detach().requires_grad_()
        value, (gradient,) = objective.row(index).gradients(leaf, (leaf,))
        losses.append(value.detach())
        gradients.append(gradient)
    return _flat(torch.stack(losses), objective), torch.cat(gradients)


def _flat(losses: Tensor, objective: Objective) -> Tensor:
    return losses.reshape(losses.size(0)) if objective.vector is None else losses.flatten(0, 1)
