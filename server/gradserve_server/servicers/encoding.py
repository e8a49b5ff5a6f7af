"""Fields of messages as bytes, written by hand where a message object would copy what they hold.

The bytes are those of https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np

from gradserve_server.operations import Array

Part: TypeAlias = bytes | memoryview

_LENGTH_DELIMITED: Final = 2
_MORE: Final = 128
_REMEMBERED: Final = 1024
_SMALL: Final = 65_536
"""Bytes up to which one more copy costs less than a view."""


@lru_cache(_REMEMBERED)
def head(field: int, length: int) -> bytes:
    """The tag and the length of a field that holds bytes, a string or a message."""
    return varint(field << 3 | _LENGTH_DELIMITED) + varint(length)


def varint(value: int) -> bytes:
    """A number of at least 0."""
    groups = bytearray()
    while value >= _MORE:
        groups.append(value % _MORE | _MORE)
        value //= _MORE
    groups.append(value)
    return bytes(groups)


def elements(array: Array) -> Part:
    """The elements of an array, row by row."""
    if array.nbytes <= _SMALL:
        return array.tobytes()
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
