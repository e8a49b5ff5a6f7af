"""From the modules of torch.nn to layers by the same names."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, Final

from torch import nn

from gradserve._architecture import Layer
from gradserve._errors import InvalidArgumentError
from gradserve._refusals import invalid

LAYERS: Final[frozenset[type[nn.Module]]] = frozenset(
    {
        nn.AlphaDropout,
        nn.BatchNorm1d,
        nn.CELU,
        nn.Dropout,
        nn.ELU,
        nn.FeatureAlphaDropout,
        nn.Flatten,
        nn.GELU,
        nn.GLU,
        nn.GroupNorm,
        nn.Hardshrink,
        nn.Hardsigmoid,
        nn.Hardswish,
        nn.Hardtanh,
        nn.Identity,
        nn.LayerNorm,
        nn.LeakyReLU,
        nn.Linear,
        nn.LogSigmoid,
        nn.LogSoftmax,
        nn.Mish,
        nn.PReLU,
        nn.RMSNorm,
        nn.RReLU,
        nn.ReLU,
        nn.ReLU6,
        nn.SELU,
        nn.SiLU,
        nn.Sigmoid,
        nn.Softmax,
        nn.Softmin,
        nn.Softplus,
        nn.Softshrink,
        nn.Softsign,
        nn.Tanh,
        nn.Tanhshrink,
        nn.Threshold,
    }
)
"""What a server can host."""

# What says where a module is, or changes no result.
_NOT_SENT: Final = frozenset({"self", "inplace", "device", "dtype"})


def layer_of(module: nn.Module, where: str) -> Layer:
    """Return the layer that computes what a module of torch.nn does.

    Args:
        module: The module.
        where: What a refusal calls it.

    Raises:
        InvalidArgumentError: There is no such layer.
    """
    # Exactly these classes: what a subclass or a hook adds is not known.
    kind = type(module)
    if kind not in LAYERS:
        raise refusal(f"{where} is {kind.__name__}, which is no layer of a server")
    if module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module):  # noqa: SLF001 - no public way
        raise refusal(f"{where}, {kind.__name__}, has hooks or a forward of its own, which a server would not run")
    return made(kind.__name__, dict(_arguments(module)), where)


def made(kind: str, arguments: Mapping[str, Any], where: str) -> Layer:
    """Return a layer.

    Raises:
        InvalidArgumentError: It joins rows, means another thing at another rank, or cannot be sent.
    """
    if (dim := arguments.get("dim", -1)) != -1:
        raise refusal(f"{where}, {kind}, has dim={dim}: make it dim=-1, the same for an input [N, features]")
    if 0 in {arguments.get("start_dim"), arguments.get("end_dim")}:
        raise refusal(f"{where}, {kind}, joins the rows into one: flatten from dimension 1 on")
    if unsent := [name for name, value in arguments.items() if not isinstance(value, bool | int | float | str | tuple)]:
        raise refusal(f"{where}, {kind}, has {unsent[0]}={arguments[unsent[0]]!r}, which cannot be sent")
    return Layer(kind, **arguments)


def refusal(message: str) -> InvalidArgumentError:
    """Return the error for a module that no server can host."""
    return invalid("module", message, "UNSUPPORTED_MODULE")


def _arguments(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Give the constructor's arguments that differ from torch's defaults."""
    for name, parameter in inspect.signature(type(module).__init__).parameters.items():
        # Old spellings of an argument leave no attribute.
        if name in _NOT_SENT or not hasattr(module, name):
            continue
        value = _has_bias(module) if name == "bias" else getattr(module, name)
        # Without a dim, softmax takes another one at each rank.
        if value != parameter.default or name == "dim":
            yield name, value


def _has_bias(module: Any) -> bool:  # noqa: ANN401 - any module that may have one
    # Without a weight there is no bias either, whatever was asked for.
    affine = getattr(module, "affine", getattr(module, "elementwise_affine", True))
    return module.bias is not None or not affine
