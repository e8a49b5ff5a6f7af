"""Gradients of several requests in one forward and one backward, each as if it had been alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gradserve_server.engine.gradients.evaluation import Evaluation, evaluate
from gradserve_server.engine.gradients.work import GradientWork
from gradserve_server.engine.model import Model
from gradserve_server.engine.network.rows import join, part, spans
from gradserve_server.engine.network.stack import Segment
from gradserve_server.engine.refusals import torch_refusals
from gradserve_server.engine.tensors import to_numpy
from gradserve_server.errors import ServiceError
from gradserve_server.operations.arrays import Array
from gradserve_server.operations.results import GradientResult, are_finite
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
        evaluation = evaluate(model, works, values[-1])
        segments = [Segment(rows, work.plan.names) for work, rows in zip(works, places, strict=True)]
        to_input = any(work.plan.selection.input for work in works)
        grad_input, gradients = model.stack.backward(values, evaluation.grad_output, segments, to_input=to_input)
        shared = _shared(works, evaluation, values[-1], grad_input)
        return [
            loss if isinstance(loss, ServiceError) else _result(work, rows, shared, loss, found)
            for work, rows, loss, found in zip(works, places, evaluation.losses, gradients, strict=True)
        ]


class _Shared(NamedTuple):
    """What the results of a batch are parts of.

    Attributes:
        output: The rows of all; None if nobody wants them.
        grad_inputs: The gradients of all rows, in each dtype that somebody wants.
        finite: Whether all that, and every loss, is known to be finite.
    """

    output: Array | None
    grad_inputs: Mapping[torch.dtype, Array]
    finite: bool


def _shared(works: Sequence[GradientWork], evaluation: Evaluation, output: Tensor, grad_input: Tensor) -> _Shared:
    outputs = to_numpy(output) if any(work.call.return_output for work in works) else None
    dtypes = {work.plan.input.dtype for work in works if work.plan.selection.input}
    grad_inputs = {dtype: to_numpy(grad_input.to(dtype)) for dtype in dtypes}
    finite = are_finite(outputs, *grad_inputs.values(), *evaluation.values)
    return _Shared(outputs, grad_inputs, finite)


def _result(
    work: GradientWork, rows: slice | None, shared: _Shared, loss: Array, found: Mapping[str, Tensor]
) -> GradientResult:
    call, plan = work.call, work.plan
    gradients: dict[str, Array] = {name: to_numpy(found[name]) for name in plan.selection.parameters}
    if plan.selection.input:
        gradients[INPUT] = part(shared.grad_inputs[plan.input.dtype], rows).reshape(call.input.shape)
    output = None
    if call.return_output and shared.output is not None:
        output = part(shared.output, rows).reshape(plan.input.output_shape)
    value = None if plan.loss_shape is None else loss.reshape(plan.loss_shape)
    return GradientResult(value, output, gradients, None, known_finite=shared.finite and not plan.names)
