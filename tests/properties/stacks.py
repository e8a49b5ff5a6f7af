"""Random stacks of layers: how each kind's arguments are drawn, where it may stand, and what shape follows it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from hypothesis import strategies as st

from tests.support.oracle import Layer, LayerArgument

Shape: TypeAlias = tuple[int, ...]
Arguments: TypeAlias = Mapping[str, LayerArgument]

WIDTHS = st.sampled_from([1, 2, 3, 4, 5, 6, 8, 12, 16, 17, 33, 64])


def real(low: float, high: float) -> st.SearchStrategy[float]:
    """A number of few digits, so that a failing case can be read."""
    return st.integers(round(low * 100), round(high * 100)).map(lambda hundredths: hundredths / 100)


def some(**arguments: st.SearchStrategy[LayerArgument]) -> st.SearchStrategy[Arguments]:
    """Any part of the arguments: torch has defaults for the rest."""
    return st.fixed_dictionaries({}, optional=arguments)


def _ordered(low: str, high: str) -> st.SearchStrategy[Arguments]:
    return st.tuples(real(0.01, 0.2), real(0.21, 0.5)).map(lambda pair: {low: pair[0], high: pair[1]})


def _linear(shape: Shape) -> st.SearchStrategy[Arguments]:
    required = {"in_features": st.just(shape[-1]), "out_features": WIDTHS}
    return st.fixed_dictionaries(required, optional={"bias": st.booleans()})


def _normalized_shape(shape: Shape) -> dict[str, st.SearchStrategy[LayerArgument]]:
    return {"normalized_shape": st.sampled_from([shape[-1], (shape[-1],)])}


def _layer_norm(shape: Shape) -> st.SearchStrategy[Arguments]:
    optional = {"eps": real(0.01, 0.5), "elementwise_affine": st.booleans(), "bias": st.booleans()}
    return st.fixed_dictionaries(_normalized_shape(shape), optional=optional)


def _rms_norm(shape: Shape) -> st.SearchStrategy[Arguments]:
    optional = {"eps": real(0.01, 0.5), "elementwise_affine": st.booleans()}
    return st.fixed_dictionaries(_normalized_shape(shape), optional=optional)


def _batch_norm(shape: Shape) -> st.SearchStrategy[Arguments]:
    optional = {
        "eps": real(0.01, 0.5),
        "momentum": real(0.0, 1.0),
        "affine": st.booleans(),
        "track_running_stats": st.booleans(),
    }
    return st.fixed_dictionaries({"num_features": st.just(shape[1])}, optional=optional)


def _group_norm(shape: Shape) -> st.SearchStrategy[Arguments]:
    channels = shape[1]
    groups = st.sampled_from([count for count in range(1, channels + 1) if channels % count == 0])
    required = {"num_groups": groups, "num_channels": st.just(channels)}
    return st.fixed_dictionaries(required, optional={"eps": real(0.01, 0.5), "affine": st.booleans()})


def _prelu(shape: Shape) -> st.SearchStrategy[Arguments]:
    channels = [shape[1]] if len(shape) > 1 and shape[1] else []
    return some(num_parameters=st.sampled_from([1, *channels]), init=real(-1, 1))


def _flatten(shape: Shape) -> st.SearchStrategy[Arguments]:
    return some(start_dim=st.sampled_from([1, len(shape) - 1, -1]), end_dim=st.sampled_from([-1, len(shape) - 1]))


def _always(arguments: st.SearchStrategy[Arguments]) -> Callable[[Shape], st.SearchStrategy[Arguments]]:
    return lambda _: arguments


def _anywhere(shape: Shape) -> bool:
    return True


def _has_features(shape: Shape) -> bool:
    return len(shape) >= 1 and shape[-1] > 0


def _has_even_features(shape: Shape) -> bool:
    return _has_features(shape) and shape[-1] % 2 == 0


def _has_channels(shape: Shape) -> bool:
    return len(shape) >= 2 and shape[1] > 0


_without_arguments = _always(some())


@dataclass(frozen=True)
class Kind:
    """How a layer of one kind is drawn.

    Attributes:
        arguments: The strategy of its arguments, given the shape of what comes in.
        fits: Whether torch takes that shape.
    """

    arguments: Callable[[Shape], st.SearchStrategy[Arguments]] = _without_arguments
    fits: Callable[[Shape], bool] = _anywhere


_LAST_DIM = Kind(_always(st.just({"dim": -1})))
_DROPOUT = _always(some(p=real(0, 1)))

KINDS: Mapping[str, Kind] = {
    "Linear": Kind(_linear, _has_features),
    "CELU": Kind(_always(some(alpha=real(0.1, 2)))),
    "ELU": Kind(_always(some(alpha=real(0.1, 2)))),
    "GELU": Kind(_always(some(approximate=st.sampled_from(["none", "tanh"])))),
    "GLU": Kind(_always(some(dim=st.just(-1))), _has_even_features),
    "Hardshrink": Kind(_always(some(lambd=real(0, 1)))),
    "Hardsigmoid": Kind(),
    "Hardswish": Kind(),
    "Hardtanh": Kind(_always(some(min_val=real(-2, -0.1), max_val=real(0, 2)))),
    "LeakyReLU": Kind(_always(some(negative_slope=real(-0.5, 1)))),
    "LogSigmoid": Kind(),
    "LogSoftmax": _LAST_DIM,
    "Mish": Kind(),
    "PReLU": Kind(_prelu),
    "RReLU": Kind(_always(st.one_of(st.just({}), _ordered("lower", "upper")))),
    "ReLU": Kind(),
    "ReLU6": Kind(),
    "SELU": Kind(),
    "SiLU": Kind(),
    "Sigmoid": Kind(),
    "Softmax": _LAST_DIM,
    "Softmin": _LAST_DIM,
    "Softplus": Kind(_always(some(beta=real(0.1, 3), threshold=real(1, 30)))),
    "Softshrink": Kind(_always(some(lambd=real(0, 1)))),
    "Softsign": Kind(),
    "Tanh": Kind(),
    "Tanhshrink": Kind(),
    "Threshold": Kind(_always(st.fixed_dictionaries({"threshold": real(-1, 1), "value": real(-2, 2)}))),
    "Dropout": Kind(_DROPOUT),
    "AlphaDropout": Kind(_DROPOUT),
    "FeatureAlphaDropout": Kind(_DROPOUT, lambda shape: len(shape) >= 2),
    "BatchNorm1d": Kind(_batch_norm, lambda shape: len(shape) in {2, 3} and shape[1] > 0),
    "GroupNorm": Kind(_group_norm, _has_channels),
    "LayerNorm": Kind(_layer_norm, _has_features),
    "RMSNorm": Kind(_rms_norm, _has_features),
    # What is empty would become a width of 0, which no layer of the server's table has.
    "Flatten": Kind(_flatten, lambda shape: len(shape) >= 2 and all(shape[1:])),
    "Identity": Kind(),
}


def shape_after(layer: Layer, shape: Shape) -> Shape:
    """The shape of a layer's output, given its input's."""
    match layer.type:
        case "Linear":
            return (*shape[:-1], int(str(layer.arguments["out_features"])))
        case "GLU":
            return (*shape[:-1], shape[-1] // 2)
        case "Flatten":
            start, end = (int(str(layer.arguments.get(name, default))) for name, default in _FLATTEN_DEFAULTS)
            first, last = start % len(shape), end % len(shape)
            return (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :])
        case _:
            return shape


_FLATTEN_DEFAULTS = (("start_dim", 1), ("end_dim", -1))


@st.composite
def stacks(
    draw: st.DrawFn, shape: Shape, *, first: str = "", last: tuple[str, ...] = ()
) -> tuple[tuple[Layer, ...], Shape]:
    """One to six layers that take an input of a shape, and what they make of it.

    Args:
        draw: Given by hypothesis.
        shape: The input's shape.
        first: The kind of the first layer, which must fit the shape; empty for any.
        last: Kinds, one of which is to be the last layer; empty for any.
    """
    kinds = [first] * bool(first) + [""] * draw(st.integers(1, 4)) + [draw(st.sampled_from(last)) for _ in last[:1]]
    layers: list[Layer] = []
    for chosen in kinds:
        kind = chosen or draw(_fitting(shape))
        layers.append(Layer(kind, draw(KINDS[kind].arguments(shape))))
        shape = shape_after(layers[-1], shape)
    return tuple(layers), shape


def _fitting(shape: Shape) -> st.SearchStrategy[str]:
    fitting = [name for name, kind in KINDS.items() if kind.fits(shape)]
    # An MLP is above all its Linear layers.
    return st.sampled_from(fitting + ["Linear"] * (len(fitting) // 3 if shape else 0))
