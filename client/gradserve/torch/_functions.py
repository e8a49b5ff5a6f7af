"""From torch's functions and methods, as a forward calls them, to the layers that compute the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from gradserve._architecture import Layer
from gradserve.torch._layers import made, refusal

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
_DIM: Final = {"dim": None, "dtype": None}

# The layer, and the arguments after the input with their defaults, which need not be those of the layer. A function is
# known by its name alone: torch, torch.nn.functional and torch.Tensor mean the same by it.
_FUNCTIONS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "alpha_dropout": ("AlphaDropout", {"p": 0.5, "training": False}),
    "celu": ("CELU", {"alpha": 1.0}),
    "dropout": ("Dropout", {"p": 0.5, "training": True}),
    "elu": ("ELU", {"alpha": 1.0}),
    "feature_alpha_dropout": ("FeatureAlphaDropout", {"p": 0.5, "training": False}),
    "flatten": ("Flatten", {"start_dim": 0, "end_dim": -1}),
    "gelu": ("GELU", {"approximate": "none"}),
    "glu": ("GLU", {"dim": -1}),
    "hardshrink": ("Hardshrink", {"lambd": 0.5}),
    "hardsigmoid": ("Hardsigmoid", _NOTHING),
    "hardswish": ("Hardswish", _NOTHING),
    "hardtanh": ("Hardtanh", {"min_val": -1.0, "max_val": 1.0}),
    "leaky_relu": ("LeakyReLU", {"negative_slope": 0.01}),
    "log_sigmoid": ("LogSigmoid", _NOTHING),
    "log_softmax": ("LogSoftmax", _DIM),
    "mish": ("Mish", _NOTHING),
    "relu": ("ReLU", _NOTHING),
    "relu6": ("ReLU6", _NOTHING),
    "rrelu": ("RReLU", {"lower": 1 / 8, "upper": 1 / 3, "training": False}),
    "selu": ("SELU", _NOTHING),
    "sigmoid": ("Sigmoid", _NOTHING),
    "silu": ("SiLU", _NOTHING),
    "softmax": ("Softmax", _DIM),
    "softmin": ("Softmin", _DIM),
    "softplus": ("Softplus", {"beta": 1.0, "threshold": 20.0}),
    "softshrink": ("Softshrink", {"lambd": 0.5}),
    "softsign": ("Softsign", _NOTHING),
    "tanh": ("Tanh", _NOTHING),
    "tanhshrink": ("Tanhshrink", _NOTHING),
    "threshold": ("Threshold", {"threshold": None, "value": None}),
}
# What changes no result, and other words for the same.
_IGNORED: Final = frozenset({"inplace", "_stacklevel"})
_SPELLINGS: Final = {"train": "training"}


def layer_of_call(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], where: str) -> tuple[Layer, bool | None]:
    """Return the layer that computes what a call does, and whether the call is as in training; None if it cannot tell.

    Args:
        name: Of the function or the method.
        args: What it is called with after its input.
        kwargs: What it is called with by name.
        where: What a refusal calls it.

    Raises:
        InvalidArgumentError: There is no such layer.
    """
    # A trailing underscore is torch's mark of what works in place, a leading one of what it has wrapped.
    layer, defaults = _FUNCTIONS.get(name.strip("_"), ("", _NOTHING))
    given = {**dict(zip(defaults, args, strict=False)), **{_SPELLINGS.get(key, key): kwargs[key] for key in kwargs}}
    arguments = {**defaults, **{key: value for key, value in given.items() if key not in _IGNORED}}
    # A dtype here would convert the input, which no layer does.
    converts = arguments.pop("dtype", None) is not None
    if not layer or converts or len(args) > len(defaults) or not arguments.keys() <= defaults.keys():
        raise refusal(f"{where} is no layer of a server")
    training = arguments.pop("training", None)
    return made(layer, arguments, where), training


def without_randomness(layer: Layer) -> Layer:
    """Return what a layer computes as long as it draws no random numbers."""
    if layer.type != "RReLU":
        # Any kind of dropout.
        return Layer("Identity")
    # Half way between its two bounds, as torch has it in evaluation.
    bounds = [bound for bound in layer.arguments.values() if isinstance(bound, int | float)]
    return Layer("LeakyReLU", negative_slope=sum(bounds) / 2)
