"""Gradients of a request that is in a batch of its own, in few steps: they are most of what a small model takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from gradserve_server.engine.gradients.evaluation import evaluate
from gradserve_server.engine.gradients.work import GradientWork
from gradserve_server.engine.model import Model
from gradserve_server.engine.network.rows import rows_of
from gradserve_server.engine.network.stack import Segment
from gradserve_server.engine.refusals import torch_refusals
from gradserve_server.engine.tensors import to_numpy
from gradserve_server.errors import ServiceError
from gradserve_server.operations.arrays import Array
from gradserve_server.operations.results import GradientResult
from gradserve_server.selection import INPUT


def compute_lone(model: Model, work: GradientWork) -> GradientResult:
    """As `compute_batch` of this work and no other.

    Raises:
        ServiceError: If torch refuses it.
    """
    call, plan = work.call, work.plan
    with torch_refusals("Gradient", model.dtype, model.device):
        values = model.stack.trace(rows_of(call.input, plan.input.row, model.dtype, model.device))
        loss, grad_output = _loss(model, work, values[-1])
        gradients = _gradients(model, work, values, grad_output)
        output = to_numpy(values[-1]).reshape(plan.input.output_shape) if call.return_output else None
        return GradientResult(loss, output, gradients, None)


def _loss(model: Model, work: GradientWork, output: Tensor) -> tuple[Array | None, Tensor]:
    """The loss, if there is one, and the gradient of the output's rows."""
    vector, shape = work.call.grad_output, work.plan.loss_shape
    if shape is None and vector is not None:
        return None, rows_of(vector, output.shape[1:], model.dtype, model.device)
    (loss,), _, grad_output = evaluate(model, (work,), output)
    if isinstance(loss, ServiceError):
        raise loss
    return None if shape is None else loss.reshape(shape), grad_output


def _gradients(model: Model, work: GradientWork, values: Sequence[Tensor], grad_output: Tensor) -> Mapping[str, Array]:
    plan = work.plan
    gradients: dict[str, Array] = {}
    if plan.names:
        segments = (Segment(None, plan.names),)
        grad_input, (found,) = model.stack.backward(values, grad_output, segments, to_input=plan.selection.input)
        gradients = {name: to_numpy(found[name]) for name in plan.selection.parameters}
    else:
        grad_input = model.stack.grad_input(values, grad_output)
    if plan.selection.input:
        dtype = plan.input.dtype
        rows = to_numpy(grad_input if grad_input.dtype is dtype else grad_input.to(dtype))
        gradients[INPUT] = rows.reshape(work.call.input.shape) if plan.input.reshaped else rows
    return gradients
