"""Forward: the output of a model."""

from __future__ import annotations

import math

import torch

from gradserve_server.engine.model import Model
from gradserve_server.engine.tensors import to_numpy
from gradserve_server.operations import ForwardCall, ForwardResult


def forward(model: Model, call: ForwardCall) -> ForwardResult:
    """Compute `model(input)`.

    Raises:
        ServiceError: If the request is refused; nothing was computed unless torch itself refused it.
    """
    output_shape = model.check_input(call)
    model.check_reply(math.prod(output_shape), "input.shape", "send fewer rows at a time")
    with model.computing("Forward", call) as seed, torch.inference_mode():
        output = model.run(model.leaf(call), training=call.training)
        return ForwardResult(to_numpy(output), seed)
