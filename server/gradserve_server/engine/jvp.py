"""Jvp: how the output changes along directions of the input and of parameters, by torch's forward-mode derivatives."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.func import jvp, vmap

from gradserve_server.engine.directions import check_count, check_directions, shapes_of, to_tensors
from gradserve_server.engine.model import Model
from gradserve_server.engine.reply import check_reply
from gradserve_server.engine.tensors import to_numpy
from gradserve_server.engine.work import Work
from gradserve_server.errors import ServiceError
from gradserve_server.operations import JvpCall, JvpResult
from gradserve_server.selection import INPUT

_PASSES = 2
"""Each direction costs about as much as the forward that it goes along with."""

Leaves: TypeAlias = Mapping[str, Tensor]
"""By parameter name, the input's under "input"."""

Push: TypeAlias = Callable[[Leaves], tuple[Tensor, Tensor]]
"""From tangents to the output and its tangent."""

# At its first use torch compiles what it needs for this, a sixth of a second, and warns that it does so in a deprecated
# way: have that before anybody waits.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    jvp(torch.sin, (torch.zeros(()),), (torch.zeros(()),))


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
    with model.computing("Jvp", call) as seed, torch.no_grad():
        tangents = to_tensors(model, call.tangents, deterministic=call.deterministic)
        push = _push(model, call, seed)
        output, product = push(tangents) if work.count is None else _batched(push, tangents, work.count, call)
        return JvpResult(to_numpy(product), to_numpy(output) if call.return_output else None, seed)


def _push(model: Model, call: JvpCall, seed: int | None) -> Push:
    """The model at the request's point, as a function of tangents alone."""
    value = model.leaf(call).to(model.dtype)
    point = {name: value if name == INPUT else model.parameters[name].detach() for name in call.tangents}

    def output_of(leaves: Leaves) -> Tensor:
        parameters = {name: leaf for name, leaf in leaves.items() if name != INPUT}
        return model.run(leaves.get(INPUT, value), training=call.training, parameters=parameters)

    def push(tangents: Leaves) -> tuple[Tensor, Tensor]:
        model.reseed(seed)
        # The third is for functions that return more than the output.
        output, product, *_ = jvp(output_of, (point,), (tangents,))
        return output, product

    return push


def _batched(push: Push, tangents: Leaves, count: int, call: JvpCall) -> tuple[Tensor, Tensor]:
    if not call.deterministic:
        try:
            # The output does not depend on the tangents.
            return vmap(push, randomness="same", out_dims=(None, 0))(tangents)  # type: ignore[arg-type] # None is one
        except RuntimeError:
            # RReLU has no batching rule. What torch refuses for another reason, the loop will meet again.
            pass
    pairs = [push({name: tangent[index] for name, tangent in tangents.items()}) for index in range(count)]
    return pairs[0][0], torch.stack([product for _, product in pairs])
