"""What a model is made of, before any of it is built: layers by torch's names, and the MLP shorthand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

from gradserve_server.errors import InvalidArgument

LayerArgument: TypeAlias = bool | int | float | str | tuple[int, ...]
"""An argument of a layer, as its torch.nn constructor takes it."""


@dataclass(frozen=True)
class Layer:
    """One torch.nn module: its class name and its constructor's arguments."""

    type: str
    arguments: Mapping[str, LayerArgument] = field(default_factory=dict)


@dataclass(frozen=True)
class Architecture:
    """Layers applied one after the other.

    Attributes:
        layers: First to last.
        field: Where the request held them, so that a refusal can name it: `sequential` or `mlp`.
        activation: The shorthand's activation, which is checked even where no layer uses it; else empty.
    """

    layers: tuple[Layer, ...]
    field: str = "architecture.sequential"
    activation: str = ""

    def path(self, index: int, argument: str) -> str:
        """The request's field that holds an argument of a layer."""
        if self.field == "architecture.mlp":
            return f"{self.field}.activation" if argument == "type" else self.field
        return f"{self.field}.layers[{index}].{argument}"


def mlp(in_features: int, hidden_features: tuple[int, ...], out_features: int, activation: str) -> Architecture:
    """Linear layers with one activation between each two, as `nn.Sequential(Linear, ReLU, ..., Linear)`.

    Raises:
        InvalidArgument: If a width is not at least 1.
    """
    widths = (in_features, *hidden_features, out_features)
    names = ("in_features", *(f"hidden_features[{i}]" for i in range(len(hidden_features))), "out_features")
    for name, width in zip(names, widths, strict=True):
        if width < 1:
            raise InvalidArgument(f"must be at least 1, got {width}", field=f"architecture.mlp.{name}")
    layers: list[Layer] = []
    for width, following in pairwise(widths):
        layers += [Layer("Linear", {"in_features": width, "out_features": following}), Layer(activation)]
    return Architecture(tuple(layers[:-1]), field="architecture.mlp", activation=activation)
