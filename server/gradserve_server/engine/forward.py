"""Forward: the output of a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from gradserve_server.engine.model import Model
from gradserve_server.engine.shapes import Shape
from gradserve_server.engine.tensors import to_numpy
from gradserve_server.engine.work import Work
from gradserve_server.errors import ServiceError
from gradserve_server.operations import ForwardCall, ForwardResult


@dataclass(slots=True, eq=False)
class ForwardWork(Work[ForwardCall]):
    """A Forward to compute, and the shape of its output."""

    output_shape: Shape


def prepare(model: Model, call: ForwardCall) -> ForwardWork:
    """Check a request.

    Raises:
        ServiceError: If it is refused.
    """
    output_shape = model.check_input(call)
    model.check_reply(math.prod(output_shape), "input.shape", "send fewer rows at a time")
    rows = math.prod(call.input.shape[:-1])
    return ForwardWork(call, model.key(call), rows, rows * model.size, output_shape)


def compute(model: Model, works: Sequence[ForwardWork]) -> list[ForwardResult | ServiceError]:
    """Compute `model(input)` of works that `prepare` made for this model: of equal keys, or one whose key is None.

    Returns:
        The result of each, or why torch refused it.
    """
    return [_alone(model, work.call) for work in works]


def _alone(model: Model, call: ForwardCall) -> ForwardResult | ServiceError:
    try:
        with model.computing("Forward", call) as seed, torch.inference_mode():
            output = model.run(model.leaf(call), training=call.training)
            return ForwardResult(to_numpy(output), seed)
    except ServiceError as refusal:
        return refusal
