"""What a new model computes, in the words of torch.nn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

LayerArgument: TypeAlias = "bool | int | float | str | Sequence[int]"


@dataclass(frozen=True, init=False, repr=False)
class Layer:
    """One torch.nn module: `Layer("Linear", in_features=50, out_features=30)`.

    Attributes:
        type: The class name in torch.nn; `ServerInfo.layer_types` lists those that the server knows.
        arguments: The constructor's arguments by name; those left out have torch's defaults.
    """

    type: str
    arguments: Mapping[str, LayerArgument]

    def __init__(self, type: str, /, **arguments: LayerArgument) -> None:  # noqa: A002 - the wire's word for it
        """Name a torch.nn class and its arguments. The server checks both."""
        object.__setattr__(self, "type", type)
        object.__setattr__(self, "arguments", {name: _fixed(value) for name, value in arguments.items()})

    def __hash__(self) -> int:
        return hash((self.type, frozenset(self.arguments.items())))

    def __repr__(self) -> str:
        arguments = (f"{name}={value!r}" for name, value in self.arguments.items())
        return f"Layer({', '.join((repr(self.type), *arguments))})"


@dataclass(frozen=True, init=False)
class Sequential:
    """Layers applied one after the other, as torch.nn.Sequential.

    Attributes:
        layers: First to last; at least one.
    """

    layers: tuple[Layer, ...]

    def __init__(self, layers: Iterable[Layer]) -> None:
        """Take the layers in order."""
        object.__setattr__(self, "layers", tuple(layers))


@dataclass(frozen=True)
class MLP:
    """The shorthand for Linear layers with one activation between each two.

    `MLP(50, [30, 20], 3)` is Linear(50, 30), ReLU, Linear(30, 20), ReLU, Linear(20, 3).

    Attributes:
        in_features: The width of the input; at least 1.
        hidden_features: The width of each hidden layer, first to last; empty for a single Linear layer.
        out_features: The width of the output; at least 1.
        activation: The class name in torch.nn of the activation after each hidden layer.
    """

    in_features: int
    hidden_features: Sequence[int]
    out_features: int
    activation: str = "ReLU"

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden_features", tuple(self.hidden_features))


Architecture: TypeAlias = MLP | Sequential


def _fixed(value: LayerArgument) -> LayerArgument:
    """Return a list of sizes as a tuple, so that equal layers compare and hash as one."""
    return tuple(value) if isinstance(value, list) else value
