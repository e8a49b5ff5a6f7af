"""Fields of messages as bytes: a tensor's memory is copied once, into the message that is sent.

A message object would copy it three times: into bytes, into the message, and out of it. The bytes are those of
https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Final, TypeAlias

import numpy as np

from gradserve import codec
from gradserve.v1 import tensor_pb2
from gradserve_server.operations.arrays import Array

Part: TypeAlias = bytes | memoryview
"""Some bytes of a message."""

REMEMBERED: Final = 1024
"""How many of the small parts of each kind are kept."""

_MAP_KEY, _MAP_VALUE = 1, 2
_LENGTH_DELIMITED: Final = 2
_MORE: Final = 128
_SMALL: Final = 65_536
"""Bytes up to which one more copy costs less than a view."""


def map_entry(field: int, name: str, array: Array) -> tuple[Part, Part]:
    """An entry of a field that maps names to tensors."""
    return _entry_head(field, name, array.dtype, array.shape), elements(array)


def tensor_field(field: int, array: Array) -> tuple[Part, Part]:
    """A field that holds a tensor."""
    return tensor_head(field, array.dtype, array.shape), elements(array)


def elements(array: Array) -> Part:
    """The elements of an array, row by row."""
    if array.nbytes <= _SMALL:
        return array.tobytes()
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


@lru_cache(REMEMBERED)
def _entry_head(field: int, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """All of an entry that comes before its tensor's data."""
    key, tensor = name.encode(), tensor_head(_MAP_VALUE, dtype, shape)
    start = head(_MAP_KEY, len(key)) + key + tensor
    return head(field, len(start) + _size(dtype, shape)) + start


@lru_cache(REMEMBERED)
def tensor_head(field: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """All of a Tensor field that comes before its data."""
    size = _size(dtype, shape)
    start = tensor_pb2.Tensor(dtype=codec.dtype_from_name(dtype.name), shape=shape).SerializeToString()
    start += head(tensor_pb2.Tensor.DATA_FIELD_NUMBER, size)
    return head(field, len(start) + size) + start


def _size(dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    return dtype.itemsize * math.prod(shape)


@lru_cache(REMEMBERED)
def head(field: int, length: int) -> bytes:
    """The tag and the length of a field that holds bytes, a string or a message."""
    return varint(field << 3 | _LENGTH_DELIMITED) + varint(length)


def varint(value: int) -> bytes:
    """A number from 0 up, in groups of seven bits."""
    groups = bytearray()
    while value >= _MORE:
        groups.append(value % _MORE | _MORE)
        value //= _MORE
    groups.append(value)
    return bytes(groups)
