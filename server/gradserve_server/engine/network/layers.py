"""The closed table of layers that a model may hold: torch.nn's names, and the arguments of each."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from torch import nn

from gradserve_server.architecture import Layer, LayerArgument
from gradserve_server.errors import InvalidArgument

Check: TypeAlias = Callable[[LayerArgument], str]
"""Says what an argument must be, or nothing if it is."""

_TOO_LARGE = 2**1023


def _boolean(value: LayerArgument) -> str:
    return "" if isinstance(value, bool) else "must be a bool"


def _number(value: LayerArgument) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "must be a number"
    # An integer may be too large even to ask whether it is finite.
    return "" if abs(value) < _TOO_LARGE and math.isfinite(value) else "must be finite"


def _size(value: LayerArgument) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        return "must be an integer"
    return "" if value >= 1 else "must be at least 1"


def _sizes(value: LayerArgument) -> str:
    sizes = value if isinstance(value, tuple) else (value,)
    if not sizes:
        return "must hold at least one size"
    return next((f"{problem}, in every place" for size in sizes if (problem := _size(size))), "")


def _last_dim(value: LayerArgument) -> str:
    # Any other dim would mix rows, or mean another thing at another rank.
    return "" if value == -1 and isinstance(value, int) and not isinstance(value, bool) else "must be -1"


def _inner_dim(value: LayerArgument) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and (value == -1 or value >= 1):
        return ""
    return "must be -1 or at least 1: dim 0 counts the rows"


def _approximation(value: LayerArgument) -> str:
    return "" if value in {"none", "tanh"} else 'must be "none" or "tanh"'


@dataclass(frozen=True)
class LayerKind:
    """One class of torch.nn.

    Attributes:
        module: The class.
        arguments: What each argument must be. `inplace` is in none of them: it changes no number, and would
            overwrite what a caller sent.
        defaults: The defaults that differ from torch's: only `dim`, which torch leaves open.
        random: Whether it draws random numbers in training.
        mixes_rows: Whether, in training, one row's output depends on the other rows.
        channels: Whether it tells dimension 1, or all that follow dimension 0, from the others. The other layers work
            on each element, or on as many of the last dimensions as they have sizes for.
    """

    module: type[nn.Module]
    arguments: Mapping[str, Check] = field(default_factory=dict)
    defaults: Mapping[str, LayerArgument] = field(default_factory=dict)
    random: bool = False
    mixes_rows: bool = False
    channels: bool = False

    def complete(self, given: Mapping[str, LayerArgument]) -> dict[str, LayerArgument]:
        """The given arguments and the defaults of the rest, in the constructor's order."""
        signature = inspect.signature(self.module.__init__).parameters
        torch_defaults = {name: signature[name].default for name in self.arguments if name in signature}
        complete = {**torch_defaults, **self.defaults, **given}
        return {name: value for name, value in complete.items() if value not in (None, inspect.Parameter.empty)}

    def missing(self, arguments: Mapping[str, LayerArgument]) -> list[str]:
        """The arguments that the constructor requires and that are not there."""
        signature = inspect.signature(self.module.__init__).parameters
        required = [name for name, value in signature.items() if value.default is inspect.Parameter.empty]
        return [name for name in required if name in self.arguments and name not in arguments]


_DIM = {"dim": _last_dim}
_AFFINE = {"eps": _number, "affine": _boolean, "bias": _boolean}
_DROPOUT = {"p": _number}

LAYERS: Mapping[str, LayerKind] = {
    kind.module.__name__: kind
    for kind in (
        LayerKind(nn.Linear, {"in_features": _size, "out_features": _size, "bias": _boolean}),
        LayerKind(nn.CELU, {"alpha": _number}),
        LayerKind(nn.ELU, {"alpha": _number}),
        LayerKind(nn.GELU, {"approximate": _approximation}),
        LayerKind(nn.GLU, _DIM),
        LayerKind(nn.Hardshrink, {"lambd": _number}),
        LayerKind(nn.Hardsigmoid),
        LayerKind(nn.Hardswish),
        LayerKind(nn.Hardtanh, {"min_val": _number, "max_val": _number}),
        LayerKind(nn.LeakyReLU, {"negative_slope": _number}),
        LayerKind(nn.LogSigmoid),
        LayerKind(nn.LogSoftmax, _DIM, {"dim": -1}),
        LayerKind(nn.Mish),
        LayerKind(nn.PReLU, {"num_parameters": _size, "init": _number}, channels=True),
        LayerKind(nn.RReLU, {"lower": _number, "upper": _number}, random=True),
        LayerKind(nn.ReLU),
        LayerKind(nn.ReLU6),
        LayerKind(nn.SELU),
        LayerKind(nn.SiLU),
        LayerKind(nn.Sigmoid),
        LayerKind(nn.Softmax, _DIM, {"dim": -1}),
        LayerKind(nn.Softmin, _DIM, {"dim": -1}),
        LayerKind(nn.Softplus, {"beta": _number, "threshold": _number}),
        LayerKind(nn.Softshrink, {"lambd": _number}),
        LayerKind(nn.Softsign),
        LayerKind(nn.Tanh),
        LayerKind(nn.Tanhshrink),
        LayerKind(nn.Threshold, {"threshold": _number, "value": _number}),
        LayerKind(nn.AlphaDropout, _DROPOUT, random=True),
        LayerKind(nn.Dropout, _DROPOUT, random=True),
        LayerKind(nn.FeatureAlphaDropout, _DROPOUT, random=True),
        LayerKind(
            nn.BatchNorm1d,
            {"num_features": _size, **_AFFINE, "momentum": _number, "track_running_stats": _boolean},
            mixes_rows=True,
            channels=True,
        ),
        LayerKind(nn.GroupNorm, {"num_groups": _size, "num_channels": _size, **_AFFINE}, channels=True),
        LayerKind(
            nn.LayerNorm, {"normalized_shape": _sizes, "eps": _number, "elementwise_affine": _boolean, "bias": _boolean}
        ),
        LayerKind(nn.RMSNorm, {"normalized_shape": _sizes, "eps": _number, "elementwise_affine": _boolean}),
        LayerKind(nn.Flatten, {"start_dim": _inner_dim, "end_dim": _inner_dim}, channels=True),
        LayerKind(nn.Identity),
    )
}


def kind_of(layer: Layer, field_path: str) -> LayerKind:
    """The table's entry for a layer.

    Raises:
        InvalidArgument: If the table has none.
    """
    if (kind := LAYERS.get(layer.type)) is None:
        raise InvalidArgument(
            f"{layer.type!r} is not a layer type: one of {', '.join(sorted(LAYERS))}", field=field_path
        )
    return kind
