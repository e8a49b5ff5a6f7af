"""The first forward of a model, and what else it can do, before anybody asks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from gradserve_server.architecture import Layer
from gradserve_server.engine import forward
from gradserve_server.engine.capabilities.trials import supported_derivatives
from gradserve_server.engine.model import Model
from gradserve_server.engine.network.mlp import Blueprint
from gradserve_server.engine.network.shapes import Shape
from gradserve_server.errors import InvalidArgument, ResourceExhausted, ServiceError
from gradserve_server.operations.calls import ForwardCall

# Two, as normalisation over a batch refuses a single row in training.
_ROWS = 2

_WIDTHS = ("in_features", "normalized_shape", "out_features")
_CHANNELS = ("num_features", "num_channels", "num_parameters")

# The search for a shape ends: a stack that takes none of these is taken to be unsound.
_NAMED = 6
_MOST_HALVINGS = 3
_TRIES = 500


def warm_up(model: Model) -> tuple[str, ...]:
    """Run a forward of two rows, on the device's thread, and give the operations that the model supports.

    Raises:
        InvalidArgument: If the layers do not fit each other, whatever the input.
        Unimplemented: If torch has no kernel for the model's Forward.
    """
    # Two rows of a very wide model may be more than a reply may hold.
    model = model.unlimited()
    shape = accepted_shape(model)
    example = np.ones(shape, np.float32)
    (answer,) = forward.compute(model, [forward.prepare(model, ForwardCall(example))])
    if isinstance(answer, ServiceError):
        raise answer
    return ("Forward", *supported_derivatives(model, shape, answer.output.shape))


def accepted_shape(model: Model) -> Shape:
    """The shape of two rows that the layers take.

    Raises:
        InvalidArgument: If the layers do not fit each other, whatever the input.
        ResourceExhausted: If each is beyond a limit.
    """
    first: ServiceError | None = None
    for shape in islice(_candidates(model.blueprint), _TRIES):
        try:
            model.shapes.passage(shape, training=False)
        except (InvalidArgument, ResourceExhausted) as refusal:
            # Not the refusal itself: its traceback holds the model.
            first = first or type(refusal)(refusal.message, field=refusal.field, reason=refusal.reason)
        else:
            return shape
    if first is None or isinstance(first, ResourceExhausted):
        raise first or InvalidArgument("no input was found that it takes")
    message = f"the layers do not fit each other: {first.message}"
    raise InvalidArgument(message, field=model.blueprint.architecture.field, reason="SHAPE_MISMATCH")


def _candidates(blueprint: Blueprint) -> Iterator[Shape]:
    """Shapes of which a sound architecture takes one: rows of each size that it names, or of two of them."""
    layers = blueprint.architecture.layers
    sizes = list(dict.fromkeys(_telling_sizes(layers))) or [(1,)]
    # Each GLU halves what reaches the layers behind it.
    halvings = min(_MOST_HALVINGS, sum(layer.type == "GLU" for layer in layers))
    widths = [(*size[:-1], size[-1] * 2**power) for size in sizes[:_NAMED] for power in range(halvings + 1)]
    yield from ((_ROWS, *width) for width in widths)
    # Flatten and the layers with channels look at two dimensions; of Flatten, only the product is named.
    quotients = [(large[-1] // small[-1],) for large in widths for small in widths if large[-1] % small[-1] == 0]
    both = list(dict.fromkeys([*widths, *quotients]))
    yield from ((_ROWS, *first, *second) for first in both for second in both)


def _telling_sizes(layers: Sequence[Layer]) -> Iterator[Shape]:
    """The sizes that bear on the input: the first one, numbers of channels, and those on both sides of a Flatten."""
    named = [(index, size) for index, layer in enumerate(layers) for size in _sizes(layer, _WIDTHS)]
    yield from (size for _, size in named[:1])
    yield from (size for layer in layers for size in _sizes(layer, _CHANNELS))
    for place in (index for index, layer in enumerate(layers) if layer.type == "Flatten"):
        yield from [size for index, size in named if index < place][-1:]
        yield from [size for index, size in named if index > place][:1]


def _sizes(layer: Layer, names: Sequence[str]) -> list[Shape]:
    sizes = [layer.arguments[name] for name in names if name in layer.arguments]
    return [size if isinstance(size, tuple) else (size,) for size in sizes if isinstance(size, int | tuple)]
