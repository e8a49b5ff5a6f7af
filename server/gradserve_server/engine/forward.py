"""Forward: the output of a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from gradserve_server.engine.model import Model
from gradserve_server.engine.network.rows import join, part, rows_of, spans
from gradserve_server.engine.plans.input import InputPlan
from gradserve_server.engine.refusals import torch_refusals
from gradserve_server.engine.reply import check_reply
from gradserve_server.engine.tensors import to_numpy
from gradserve_server.engine.work import Work
from gradserve_server.errors import ServiceError
from gradserve_server.operations.calls import ForwardCall
from gradserve_server.operations.results import ForwardResult, is_finite


@dataclass(slots=True, eq=False)
class ForwardWork(Work[ForwardCall]):
    """A Forward to compute, and how."""

    plan: InputPlan


def prepare(model: Model, call: ForwardCall) -> ForwardWork:
    """Check a request.

    Raises:
        ServiceError: If it is refused.
    """
    plan = model.input_plans.plan(call.input.dtype, call.input.shape, call.training, call.deterministic)
    elements = math.prod(plan.output_shape)
    check_reply(model.limits, model.dtype, elements, 1, "input.shape", "send fewer rows at a time")
    return ForwardWork(call, plan.row or None, plan.rows, plan.cost, plan)


def compute(model: Model, works: Sequence[ForwardWork]) -> list[ForwardResult | ServiceError]:
    """Compute `model(input)` of works that `prepare` made for this model: of equal keys, or one whose key is None.

    Returns:
        The result of each, or why torch refused it.
    """
    try:
        return [_alone(model, works[0].call)] if works[0].key is None else _together(model, works)
    except ServiceError as refusal:
        if len(works) == 1:
            return [refusal]
    # Perhaps there was too little memory for all at once.
    return [result for work in works for result in compute(model, [work])]


def _alone(model: Model, call: ForwardCall) -> ForwardResult:
    with model.computing("Forward", call) as seed, torch.inference_mode():
        output = model.run(model.leaf(call), training=call.training)
        return ForwardResult(to_numpy(output), seed)


def _one(model: Model, work: ForwardWork) -> ForwardResult:
    """As `_together` of this work alone, in fewer steps: it is most of what a small model does."""
    plan = work.plan
    with torch_refusals("Forward", model.dtype, model.device):
        output = to_numpy(model.stack.forward(rows_of(work.call.input, plan.row, model.dtype, model.device)))
    return ForwardResult(output.reshape(plan.output_shape) if plan.reshaped else output, None)


def _together(model: Model, works: Sequence[ForwardWork]) -> list[ForwardResult | ServiceError]:
    if len(works) == 1:
        return [_one(model, works[0])]
    inputs = [work.call.input for work in works]
    with torch_refusals("Forward", model.dtype, model.device):
        outputs = to_numpy(model.stack.forward(join(inputs, works[0].plan.row, model.dtype, model.device)))
    finite, places = is_finite(outputs), spans([work.plan.count for work in works])
    return [
        ForwardResult(part(outputs, rows).reshape(work.plan.output_shape), None, finite)
        for work, rows in zip(works, places, strict=True)
    ]
