"""Tensors on the wire and as numpy arrays: the one place that knows the byte layout, for client and server alike.

It checks what the wire format itself demands. What a model, a loss or a limit demands is for others to check.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

import ml_dtypes
import numpy as np

from gradserve.v1 import tensor_pb2

__all__ = ["MAX_RANK", "Array", "TensorError", "decode", "decode_elements", "dtype_from_name", "dtype_name", "encode"]

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"

MAX_RANK: Final = 8
"""The most dimensions of a tensor on the wire."""

_MAX_BYTES: Final = 2**63 - 1

_DTYPES: Final[dict[int, np.dtype[Any]]] = {
    tensor_pb2.DATA_TYPE_BOOL: np.dtype(np.bool_),
    tensor_pb2.DATA_TYPE_UINT8: np.dtype("<u1"),
    tensor_pb2.DATA_TYPE_INT8: np.dtype("<i1"),
    tensor_pb2.DATA_TYPE_INT16: np.dtype("<i2"),
    tensor_pb2.DATA_TYPE_INT32: np.dtype("<i4"),
    tensor_pb2.DATA_TYPE_INT64: np.dtype("<i8"),
    tensor_pb2.DATA_TYPE_FLOAT16: np.dtype("<f2"),
    tensor_pb2.DATA_TYPE_BFLOAT16: np.dtype(ml_dtypes.bfloat16),
    tensor_pb2.DATA_TYPE_FLOAT32: np.dtype("<f4"),
    tensor_pb2.DATA_TYPE_FLOAT64: np.dtype("<f8"),
}
_DATA_TYPES: Final = {dtype: tensor_pb2.DataType.ValueType(number) for number, dtype in _DTYPES.items()}
_NAMES: Final = {number: dtype.name for number, dtype in _DTYPES.items()}
_NUMBERS: Final = {name: tensor_pb2.DataType.ValueType(number) for number, name in _NAMES.items()}


class TensorError(ValueError):
    """A tensor that the wire format does not allow.

    Attributes:
        field: The field of the Tensor message that is wrong.
    """

    def __init__(self, field: Literal["dtype", "shape", "data"], message: str) -> None:
        """Name the field that is wrong and say why."""
        super().__init__(message)
        self.field: Final = field


def dtype_name(data_type: int) -> str:
    """Return torch's name of a DataType, such as "bfloat16".

    Raises:
        TensorError: It is unspecified, or not one of the ten dtypes.
    """
    name = _NAMES.get(data_type)
    if name is None:
        raise _unknown_data_type(data_type)
    return name


def dtype_from_name(name: str) -> tensor_pb2.DataType.ValueType:
    """Return the DataType that torch calls by this name.

    Raises:
        TensorError: No DataType has this name.
    """
    data_type = _NUMBERS.get(name)
    if data_type is None:
        raise TensorError("dtype", f"unknown dtype {name!r}; known are {', '.join(_NUMBERS)}")
    return data_type


def encode(array: Array) -> tensor_pb2.Tensor:
    """Return the array as a message, its elements in row-major order whatever their order in memory.

    Args:
        array: Of rank 0 to 8, in one of the ten dtypes; any strides and byte order.

    Raises:
        TensorError: The dtype or the rank has no form on the wire.
    """
    data_type = _DATA_TYPES.get(array.dtype)
    if data_type is None:
        array, data_type = _little_endian(array)
    if array.ndim > MAX_RANK:
        raise _too_many_dimensions(array.ndim)
    return tensor_pb2.Tensor(dtype=data_type, shape=array.shape, data=array.tobytes())


def decode(tensor: tensor_pb2.Tensor) -> Array:
    """Return the message's elements as a read-only array that shares the message's bytes.

    Raises:
        TensorError: The message breaks a rule of the wire format; `field` names the first field that does.
    """
    dtype = _DTYPES.get(tensor.dtype)
    if dtype is None:
        raise _unknown_data_type(tensor.dtype)
    return decode_elements(dtype, tensor.shape, tensor.data)


def decode_elements(dtype: np.dtype[Any], sizes: Sequence[int], data: bytes) -> Array:
    """Return elements as a read-only array that shares their bytes.

    Args:
        dtype: One of the ten dtypes.
        sizes: The shape.
        data: The elements, little-endian and row by row.

    Raises:
        TensorError: The wire format does not allow such a shape, or the data do not fit it.
    """
    # The rank first: a hostile shape may have a million entries.
    if len(sizes) > MAX_RANK:
        raise _too_many_dimensions(len(sizes))
    shape = tuple(sizes)
    try:
        found: Array = np.ndarray(shape, dtype, data)
    except (OverflowError, TypeError, ValueError) as refusal:
        raise _size_error(shape, dtype, len(data)) from refusal
    if found.nbytes != len(data):
        raise _size_error(shape, dtype, len(data))
    if dtype.kind == "b" and found.size and found.view(np.uint8).max() > 1:
        raise TensorError("data", "a bool element must be the byte 0 or 1")
    return found


def _size_error(shape: Sequence[int], dtype: np.dtype[Any], length: int) -> TensorError:
    """Return what is wrong with a shape, or with data that do not have exactly its length."""
    if any(size < 0 for size in shape):
        return TensorError("shape", f"dimensions must not be negative, got {_text(shape)}")
    # Zeros count as one: numpy and torch refuse [0, 2**62, 2**62] although it holds nothing.
    if math.prod(size or 1 for size in shape) * dtype.itemsize > _MAX_BYTES:
        return TensorError("shape", f"the shape {_text(shape)} overflows 2^63 bytes")
    expected = math.prod(shape) * dtype.itemsize
    return TensorError("data", f"{dtype.name} of shape {_text(shape)} takes exactly {expected} bytes, got {length}")


def _little_endian(array: Array) -> tuple[Array, tensor_pb2.DataType.ValueType]:
    """Return a big-endian array byte-swapped, with its DataType; refuse every other dtype."""
    data_type = None
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
        data_type = _DATA_TYPES.get(array.dtype)
    if data_type is None:
        raise TensorError(
            "dtype", f"numpy dtype {array.dtype} has no form on the wire; use one of {', '.join(_NUMBERS)}"
        )
    return array, data_type


def _unknown_data_type(data_type: int) -> TensorError:
    if data_type == tensor_pb2.DATA_TYPE_UNSPECIFIED:
        return TensorError("dtype", "the dtype is required")
    return TensorError("dtype", f"unknown dtype {data_type}; known are {', '.join(_NUMBERS)}")


def _too_many_dimensions(rank: int) -> TensorError:
    return TensorError("shape", f"at most {MAX_RANK} dimensions are allowed, got {rank}")


def _text(shape: Sequence[int]) -> str:
    return f"[{', '.join(map(str, shape))}]"
