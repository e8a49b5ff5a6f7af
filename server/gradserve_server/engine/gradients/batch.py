"""Gradients of several requests in one forward and one backward, each as if it had been alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gradserve_server.engine.gradients.evaluation import Evaluation, evaluate
from gradserve_server.engine.gradients.work import GradientWork
from gradserve_server.engine.model import Model
from gradserve_server.engine.network.rows import join, part, spans
from gradserve_server.engine.network.stack import Segment
from gradserve_server.engine.refusals import torch_refusals
from gradserve_server.engine.tensors import to_numpy, torch_dtype
from gradserve_server.errors import ServiceError
from gradserve_server.operations.arrays import Array
from gradserve_server.operations.results import GradientResult
from gradserve_server.selection import INPUT


def compute_batch(model: Model, works: Sequence[GradientWork]) -> list[GradientResult | ServiceError]:
    """Compute the gradients of works of equal keys.

    The rows of one never meet those of another: losses are of each one's rows, and the gradients of parameters are
    products of each one's rows.

    Raises:
        ServiceError: If torch refuses all of it.
    """
    with torch_refusals("Gradient", model.dtype, model.device):
        inputs = [work.call.input for work in works]
        places = spans([work.plan.input.count for work in works])
        values = model.stack.trace(join(inputs, works[0].plan.input.row, model.dtype, model.device))
        outputs = [part(values[-1], rows) for rows in places]
        evaluations = evaluate(model, works, outputs)
        grad_output = _joined_gradient(evaluations, outputs)
        segments = [Segment(rows, work.plan.names) for work, rows in zip(works, places, strict=True)]
        to_input = any(work.plan.selection.input for work in works)
        grad_input, gradients = model.stack.backward(values, grad_output, segments, to_input=to_input)
        grad_inputs = [part(grad_input, rows) for rows in places]
        return list(map(_result, works, evaluations, outputs, gradients, grad_inputs))


def _joined_gradient(evaluations: Sequence[Evaluation | ServiceError], outputs: Sequence[Tensor]) -> Tensor:
    # Nothing comes of a refused request, but its rows are still among the others.
    parts = [
        torch.zeros_like(output) if isinstance(evaluation, ServiceError) else evaluation.grad_output
        for evaluation, output in zip(evaluations, outputs, strict=True)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _result(
    work: GradientWork,
    evaluation: Evaluation | ServiceError,
    output: Tensor,
    found: Mapping[str, Tensor],
    grad_input: Tensor,
) -> GradientResult | ServiceError:
    if isinstance(evaluation, ServiceError):
        return evaluation
    call, plan = work.call, work.plan
    gradients: dict[str, Array] = {name: to_numpy(found[name]) for name in plan.selection.parameters}
    if plan.selection.input:
        dtype = torch_dtype(call.input.dtype)
        own = grad_input if grad_input.dtype == dtype else grad_input.to(dtype)
        gradients[INPUT] = to_numpy(own).reshape(call.input.shape)
    loss = None
    if plan.loss is not None:
        loss = evaluation.loss.reshape(plan.loss.value_shape if call.grad_output is not None else ())
    output_array = to_numpy(output).reshape(plan.input.output_shape) if call.return_output else None
    return GradientResult(loss=loss, output=output_array, gradients=gradients, seed=None)
