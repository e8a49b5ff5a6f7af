"""What weights are sent from: arrays in memory, or a safetensors file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Protocol, TypeAlias

import numpy as np

from gradserve import _original_names, _safetensors
from gradserve._arrays import ArrayLike
from gradserve._refusals import invalid
from gradserve._state_requests import chunks_in, chunks_of

StateDictLike: TypeAlias = Mapping[str, ArrayLike] | str | os.PathLike[str]
"""Arrays by name, or the path of a safetensors file."""


class Source(Protocol):
    """A safetensors file that can be sent, again and again."""

    @property
    def total_bytes(self) -> int:
        """Its size."""

    def chunks(self, size: int) -> Iterator[bytes]:
        """Give its bytes from the beginning, at most so many at a time."""


@dataclass(frozen=True)
class _Arrays:
    packed: _safetensors.Packed

    @property
    def total_bytes(self) -> int:
        return self.packed.total_bytes

    def chunks(self, size: int) -> Iterator[bytes]:
        return chunks_of(self.packed.pieces(), size)


@dataclass(frozen=True)
class _File:
    stream: BinaryIO
    total_bytes: int

    def chunks(self, size: int) -> Iterator[bytes]:
        return chunks_in(self.stream, size)


@contextmanager
def source_of(state_dict: StateDictLike, layers: Mapping[str, str]) -> Iterator[Source]:
    """Give what is to be sent. A file is sent as it is, unless layers are to be renamed.

    Args:
        state_dict: The weights.
        layers: What to call layers instead; empty to leave all names.

    Raises:
        InvalidArgumentError: It cannot be sent.
        TypeError: It is neither a mapping nor a path.
        OSError: The file cannot be read.
    """
    if not isinstance(state_dict, str | os.PathLike):
        yield _Arrays(_safetensors.pack(_renamed(state_dict, layers)))
        return
    with open(state_dict, "rb") as stream:  # noqa: PTH123 - the path may be any that the system takes
        total_bytes = os.fstat(stream.fileno()).st_size
        try:
            _safetensors.check_head(stream, total_bytes)
            if not layers:
                yield _File(stream, total_bytes)
                return
            arrays = _safetensors.unpack(np.fromfile(stream, np.uint8))
        except _safetensors.FormatError as error:
            raise invalid("state_dict", f"{os.fspath(state_dict)}: {error}", "INVALID_SAFETENSORS") from error
    yield _Arrays(_safetensors.pack(_original_names.renamed(arrays, layers)))


def _renamed(state_dict: Mapping[str, ArrayLike], layers: Mapping[str, str]) -> Mapping[str, ArrayLike]:
    return _original_names.renamed(state_dict, layers) if layers else state_dict
