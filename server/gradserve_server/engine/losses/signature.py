"""What of a loss does not depend on the values of its tensors: equal signatures are checked once."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gradserve_server.engine.network.shapes import Shape
from gradserve_server.operations.arrays import Array
from gradserve_server.operations.calls import LossArgument, LossCall


class TensorType(NamedTuple):
    """Dtype and shape of a tensor."""

    dtype: np.dtype[Any]
    shape: Shape

    @classmethod
    def of(cls, array: Array | None) -> TensorType | None:
        """Of an array, if there is one."""
        return None if array is None else cls(array.dtype, array.shape)


class Number(NamedTuple):
    """A scalar argument of a loss; with its type, as Python takes True, 1 and 1.0 for equal."""

    type: type
    value: float


ArgumentType: TypeAlias = TensorType | Number


class LossSignature(NamedTuple):
    """Of a loss."""

    name: str
    reduction: str
    target: TensorType | None
    arguments: tuple[tuple[str, ArgumentType], ...]


def loss_signature(loss: LossCall | None) -> LossSignature | None:
    """The signature of a loss, if there is one."""
    if loss is None:
        return None
    arguments = tuple((name, _of_argument(value)) for name, value in loss.arguments.items())
    return LossSignature(loss.name, loss.reduction, TensorType.of(loss.target), arguments)


def _of_argument(value: LossArgument) -> ArgumentType:
    return TensorType(value.dtype, value.shape) if isinstance(value, np.ndarray) else Number(type(value), value)
