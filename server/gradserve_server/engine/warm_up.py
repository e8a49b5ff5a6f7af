"""The first forward and backward of a model: finds out what it can do before anybody asks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

import numpy as np

from gradserve_server.architecture import Layer
from gradserve_server.engine.forward import forward
from gradserve_server.engine.gradient import gradient
from gradserve_server.engine.mlp import Blueprint
from gradserve_server.engine.model import Model
from gradserve_server.engine.shapes import Shape
from gradserve_server.errors import InvalidArgument, Unimplemented
from gradserve_server.operations import ForwardCall, GradientCall
from gradserve_server.selection import INPUT

# Two, as normalisation over a batch refuses a single row in training.
_ROWS = 2

_CHANNELS = ("num_features", "num_channels", "num_parameters")


def warm_up(model: Model) -> tuple[str, ...]:
    """Run a forward and a backward, on the device's thread, and give the operations that the model supports.

    Raises:
        InvalidArgument: If the layers do not fit each other, whatever the input.
        Unimplemented: If torch has no kernel for the model's Forward.
    """
    shape = _accepted_shape(model)
    example = np.ones(shape, np.float32)
    output = forward(model, ForwardCall(example)).output
    try:
        gradient(model, GradientCall(example, grad_output=np.ones(output.shape, np.float32), wrt=(INPUT,)))
    except Unimplemented:
        return ("Forward",)
    return ("Forward", "Gradient")


def _accepted_shape(model: Model) -> Shape:
    refusals = []
    for shape in _candidates(model.blueprint):
        try:
            model.shapes.output_shape(shape, training=False)
        except InvalidArgument as refusal:
            refusals.append(refusal)
        else:
            return shape
    message = f"the layers do not fit each other: {refusals[0].message}"
    raise InvalidArgument(message, field=model.blueprint.architecture.field, reason="SHAPE_MISMATCH")


def _candidates(blueprint: Blueprint) -> Iterator[Shape]:
    """Shapes of which a sound architecture takes one: by the first width, the channels, or both."""
    layers = blueprint.architecture.layers
    width = next((size for layer in layers if (size := _width(layer))), (1,))
    before = takewhile(lambda layer: not _width(layer), layers)
    # Each GLU halves what reaches the first width.
    features = (*width[:-1], width[-1] * 2 ** sum(layer.type == "GLU" for layer in before))
    yield (_ROWS, *features)
    for layer in layers:
        for argument in _CHANNELS:
            if isinstance(channels := layer.arguments.get(argument), int):
                yield (_ROWS, channels)
                yield (_ROWS, channels, *features)
                yield (_ROWS, channels, max(1, features[-1] // channels))


def _width(layer: Layer) -> Shape:
    width = layer.arguments.get("in_features") or layer.arguments.get("normalized_shape")
    if isinstance(width, tuple):
        return width
    return (width,) if isinstance(width, int) else ()
