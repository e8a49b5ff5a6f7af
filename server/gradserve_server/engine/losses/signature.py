"""What of a Gradient does not depend on the values of its tensors: equal signatures are checked once."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gradserve_server.engine.network.shapes import Shape
from gradserve_server.errors import InvalidArgument
from gradserve_server.operations.arrays import Array
from gradserve_server.operations.calls import GradientCall, LossArgument, LossCall, PerSampleResult


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


def check_batched(sent: Shape, shape: Shape, field: str) -> None:
    """Refuse a tensor that does not hold several of a shape, one behind the other.

    Raises:
        InvalidArgument: If it does not.
    """
    if not sent or sent[0] < 1 or sent[1:] != shape:
        wanted = ", ".join(("K", *map(str, shape)))
        raise InvalidArgument(f"must have shape [{wanted}] with K > 0, got {list(sent)}", field=f"{field}.shape")


ArgumentType: TypeAlias = TensorType | Number


class LossSignature(NamedTuple):
    """Of a loss."""

    name: str
    reduction: str
    target: TensorType | None
    arguments: tuple[tuple[str, ArgumentType], ...]


class Signature(NamedTuple):
    """Of a whole request."""

    input: TensorType
    training: bool
    deterministic: bool
    wrt: tuple[str, ...]
    per_sample: bool
    per_sample_result: PerSampleResult | None
    is_grads_batched: bool
    return_output: bool
    loss: LossSignature | None
    grad_output: TensorType | None


def signature_of(call: GradientCall) -> Signature:
    """The signature of a request."""
    return Signature(
        TensorType(call.input.dtype, call.input.shape),
        call.training,
        call.deterministic,
        call.wrt,
        call.per_sample,
        call.per_sample_result,
        call.is_grads_batched,
        call.return_output,
        loss_signature(call.loss),
        TensorType.of(call.grad_output),
    )


def loss_signature(loss: LossCall | None) -> LossSignature | None:
    """The signature of a loss, if there is one."""
    if loss is None:
        return None
    arguments = tuple((name, _of_argument(value)) for name, value in loss.arguments.items())
    return LossSignature(loss.name, loss.reduction, TensorType.of(loss.target), arguments)


def _of_argument(value: LossArgument) -> ArgumentType:
    return TensorType(value.dtype, value.shape) if isinstance(value, np.ndarray) else Number(type(value), value)
