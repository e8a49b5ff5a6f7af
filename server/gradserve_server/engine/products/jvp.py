"""Jvp: how the output changes along directions of the input and of parameters, by torch's forward-mode derivatives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from gradserve_server.engine.model import Model
from gradserve_server.engine.products.directions import check_count, check_directions, shapes_of, to_tensors
from gradserve_server.engine.products.pushforward import push_all, pushforward
from gradserve_server.engine.reply import check_reply
from gradserve_server.engine.tensors import to_numpy
from gradserve_server.engine.work import Work
from gradserve_server.errors import ServiceError
from gradserve_server.operations.calls import JvpCall
from gradserve_server.operations.results import JvpResult

_PASSES = 2
"""Each direction costs about as much as the forward that it goes along with."""


@dataclass(slots=True, eq=False)
class JvpWork(Work[JvpCall]):
    """A Jvp to compute.

    Attributes:
        count: How many directions there are; None for a single one that is not batched.
    """

    count: int | None


def prepare(model: Model, call: JvpCall) -> JvpWork:
    """Check a request.

    Raises:
        ServiceError: If it is refused.
    """
    plan = model.input_plans.plan(call.input.dtype, call.input.shape, call.training, call.deterministic)
    shapes = shapes_of(model, call.input.shape)
    count = check_directions(call.tangents, shapes, "tangents", batched=call.is_tangents_batched)
    check_count(count, plan, model.limits, "tangents")
    products = count or 1
    elements = math.prod(plan.output_shape) * (products + call.return_output)
    field, advice = ("tangents", "send fewer directions") if count else ("input.shape", "send fewer rows")
    check_reply(model.limits, model.dtype, elements, 2, field, f"{advice} at a time")
    return JvpWork(call, None, plan.rows, _PASSES * products * plan.cost, count)


def compute(model: Model, works: Sequence[JvpWork]) -> list[JvpResult | ServiceError]:
    """Compute the product of a work that `prepare` made for this model.

    Returns:
        The result, or why torch refused it.
    """
    (work,) = works
    try:
        return [_computed(model, work)]
    except ServiceError as refusal:
        return [refusal]


def _computed(model: Model, work: JvpWork) -> JvpResult:
    call = work.call
    # Some of torch's forward-mode formulas, such as that of Mish, round in another way where there is no tape.
    with model.computing("Jvp", call) as seed, torch.set_grad_enabled(call.deterministic):
        tangents = to_tensors(model, call.tangents, deterministic=call.deterministic)
        push = pushforward(model, call, call.tangents, seed)
        if work.count is None:
            output, product = push(tangents)
        else:
            output, product = push_all(push, tangents, work.count, deterministic=call.deterministic)
        return JvpResult(to_numpy(product), to_numpy(output) if call.return_output else None, seed)
