"""From an architecture to an nn.Module: checked whole before a byte of it is allocated."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from gradserve_server.architecture import Architecture, Layer
from gradserve_server.config import Limits
from gradserve_server.engine import global_state
from gradserve_server.engine.network.layers import LAYERS, kind_of
from gradserve_server.errors import InvalidArgument, ResourceExhausted


class MLP(nn.Module):
    """A module whose only child is `layers = nn.Sequential(...)`: parameters are named `layers.<index>.<name>`."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name for it
        """Apply the layers, first to last."""
        output: Tensor = self.layers(input)
        return output


@dataclass(frozen=True)
class Blueprint:
    """A checked architecture.

    Attributes:
        architecture: With every argument that has a default spelled out.
        skeleton: The module on torch's meta device: all shapes and no memory.
    """

    architecture: Architecture
    skeleton: MLP

    @property
    def random(self) -> bool:
        """Whether any layer draws random numbers in training."""
        return any(LAYERS[layer.type].random for layer in self.architecture.layers)

    def mixes_rows(self, *, training: bool) -> bool:
        """Whether one row's output depends on the other rows of its batch."""
        return any(
            LAYERS[layer.type].mixes_rows and (training or not layer.arguments.get("track_running_stats", True))
            for layer in self.architecture.layers
        )

    def row_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of what every layer computes by itself, unless it mixes rows: an input is [..., *row].

        Returns:
            Empty if it cannot be told which dimensions count such rows.
        """
        layers = self.architecture.layers
        trailing = max(_trailing_dims(layer) for layer in layers)
        if not any(_tells_channels(layer) for layer in layers):
            return shape[-trailing:] or (1,)
        return shape[1:] if trailing == 1 else ()

    def draw(self, seed: int, dtype: torch.dtype) -> MLP:
        """Build the module on the CPU with the weights that `torch.manual_seed(seed)` and the constructors give.

        They are drawn in float32 and then converted, so that a seed means the same weights in every dtype.
        """
        with global_state.seeded(seed, torch.device("cpu")):
            return MLP(_sequential(self.architecture)).to(dtype)


def check(architecture: Architecture, limits: Limits) -> Blueprint:
    """Check every layer and every argument, and count the parameters, without allocating them.

    Raises:
        InvalidArgument: If there is no layer, a layer type or an argument is unknown, or torch refuses a value.
        ResourceExhausted: If there are too many layers or too many parameters.
    """
    if not architecture.layers:
        raise InvalidArgument("an architecture needs at least one layer", field=architecture.field)
    if (count := len(architecture.layers)) > limits.max_layers:
        message = f"the architecture has {count} layers; this server allows {limits.max_layers}"
        raise ResourceExhausted(message, field=architecture.field, reason="TOO_MANY_LAYERS")
    if architecture.activation:
        kind_of(Layer(architecture.activation), architecture.path(0, "type"))
    layers = tuple(_checked(architecture, index, limits) for index in range(count))
    complete = replace(architecture, layers=layers)
    with torch.device("meta"):
        skeleton = MLP(_sequential(complete))
    total = sum(tensor.numel() for tensor in (*skeleton.parameters(), *skeleton.buffers()))
    if total > limits.max_parameters:
        raise _too_large(f"the model has {total} elements of parameters and buffers", architecture.field, limits)
    return Blueprint(complete, skeleton)


def _checked(architecture: Architecture, index: int, limits: Limits) -> Layer:
    layer = architecture.layers[index]
    kind = kind_of(layer, architecture.path(index, "type"))
    for name, value in layer.arguments.items():
        path = architecture.path(index, f"arguments[{name}]")
        if (expectation := kind.arguments.get(name)) is None:
            takes = ", ".join(kind.arguments) or "none"
            raise InvalidArgument(f"{layer.type} has no argument {name!r} here; it takes: {takes}", field=path)
        if problem := expectation(value):
            raise InvalidArgument(f"{name} of {layer.type} {problem}, got {value!r}", field=path)
        # A single width beyond the limit may overflow torch's own arithmetic, even without memory.
        if any(isinstance(size, int) and size > limits.max_parameters for size in _as_tuple(value)):
            raise _too_large(f"{name} of {layer.type} is {value}", path, limits)
    if missing := kind.missing(layer.arguments):
        path = architecture.path(index, "arguments")
        raise InvalidArgument(f"{layer.type} needs {', '.join(missing)}", field=path)
    complete = Layer(layer.type, kind.complete(layer.arguments))
    _construct_without_memory(complete, architecture.path(index, "arguments"))
    return complete


def _as_tuple(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else (value,)


def _construct_without_memory(layer: Layer, path: str) -> None:
    try:
        with torch.device("meta"):
            _module(layer)
    except (AssertionError, TypeError, ValueError, RuntimeError) as refusal:
        message = next(iter(str(refusal).splitlines()), "it does not say why")
        raise InvalidArgument(f"torch refuses this {layer.type}: {message}", field=path) from refusal


def _too_large(what: str, path: str, limits: Limits) -> ResourceExhausted:
    message = f"{what}; this server allows {limits.max_parameters} parameters"
    return ResourceExhausted(message, field=path, reason="TOO_MANY_PARAMETERS")


def _trailing_dims(layer: Layer) -> int:
    return len(_as_tuple(layer.arguments.get("normalized_shape", 1)))


def _tells_channels(layer: Layer) -> bool:
    return LAYERS[layer.type].channels and layer.arguments.get("num_parameters") != 1


def _sequential(architecture: Architecture) -> nn.Sequential:
    return nn.Sequential(*(_module(layer) for layer in architecture.layers))


def _module(layer: Layer) -> nn.Module:
    return LAYERS[layer.type].module(**layer.arguments)
