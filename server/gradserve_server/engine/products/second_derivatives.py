"""Which layer, or which loss, torch has no second derivative of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from gradserve_server.engine.losses.binding import BoundLoss
from gradserve_server.engine.model import Model
from gradserve_server.errors import Unimplemented

_NO_DERIVATIVE = re.compile(r"derivative for .* is not implemented")


@contextmanager
def second_derivatives(model: Model, value: Tensor, loss: BoundLoss | None) -> Iterator[None]:
    """Differentiate gradients inside the block: what torch has no derivative for is told by name.

    Args:
        model: Whose gradients they are.
        value: Its input, in its dtype.
        loss: What was differentiated; None for the output itself.

    Raises:
        Unimplemented: If torch has no second derivative of a layer or of the loss.
    """
    try:
        yield
    except RuntimeError as error:
        if not _NO_DERIVATIVE.search(str(error)):
            raise
        layer = _layer_without(model, value)
        message = f"torch has no second derivative of {layer or 'this loss'}"
        field = "" if layer or loss is None else "loss.name"
        raise Unimplemented(message, field=field, reason="NO_SECOND_DERIVATIVE") from error


def _layer_without(model: Model, value: Tensor) -> str:
    """The first layer, by its place and its arguments; empty if each has one."""
    model.module.eval()
    for index, layer in enumerate(model.module.layers):
        value = value.detach().requires_grad_()
        output: Tensor = layer(value)
        if not _is_twice_differentiable(output, value):
            return f"layers.{index}, {layer}"
        value = output
    return ""


def _is_twice_differentiable(output: Tensor, value: Tensor) -> bool:
    vector = torch.ones_like(output, requires_grad=True)
    (gradient,) = torch.autograd.grad(output, value, vector, create_graph=True)
    try:
        torch.autograd.grad(gradient, (value, vector), torch.ones_like(gradient), allow_unused=True)
    except RuntimeError as error:
        return _NO_DERIVATIVE.search(str(error)) is None
    return True
