"""Puts a state_dict together from the parts that it comes in."""

from __future__ import annotations

import hashlib
from typing import BinaryIO, Final, Protocol

import numpy as np
import numpy.typing as npt

from gradserve._errors import DataLossError, InternalError
from gradserve.v1 import state_pb2


class Sink(Protocol):
    """Where the bytes of a state_dict go."""

    def begin(self, total_bytes: int) -> None:
        """Make room for so many bytes, and forget those of an attempt before."""

    def write(self, chunk: bytes, /) -> object:
        """Take the next bytes, all of them."""


class Buffer:
    """A sink in memory.

    Attributes:
        content: The bytes: allocated once, and written to in place.
    """

    def __init__(self) -> None:
        self.content: npt.NDArray[np.uint8] = np.empty(0, np.uint8)
        self._filled = 0

    def begin(self, total_bytes: int) -> None:
        """Allocate the memory."""
        self.content = np.empty(total_bytes, np.uint8)
        self._filled = 0

    def write(self, chunk: bytes, /) -> None:
        """Copy the next bytes to their place."""
        self.content[self._filled : self._filled + len(chunk)] = np.frombuffer(chunk, np.uint8)
        self._filled += len(chunk)


class File:
    """A sink in an open file."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream: Final = stream

    def begin(self, _total_bytes: int) -> None:
        """Empty the file."""
        self._stream.seek(0)
        self._stream.truncate()

    def write(self, chunk: bytes, /) -> None:
        """Append the next bytes."""
        self._stream.write(chunk)


class Reception:
    """One reply of GetStateDict, fed part by part.

    It checks what the contract says of them: a header first, then as many bytes as that says, and a trailer with their
    checksum last. What the bytes mean is for others to check.

    Attributes:
        version: The version of the weights; 0 before the header.
        total_bytes: How many bytes there will be; 0 before the header.
        received_bytes: How many there have been.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink: Final = sink
        self._digest: Final = hashlib.sha256()
        self._begun = self._ended = False
        self.version = 0
        self.total_bytes = 0
        self.received_bytes = 0

    def feed(self, part: state_pb2.GetStateDictResponse) -> None:
        """Take the next part.

        Raises:
            InternalError: It cannot stand here.
            DataLossError: It is the trailer, and the bytes are not those that were sent.
        """
        kind = part.WhichOneof("part")
        if self._ended or kind is None or self._begun == (kind == "header"):
            raise InternalError(f"the reply holds a {kind or 'part of no kind'} out of place", reason="MALFORMED_REPLY")
        if kind == "header":
            self._begin(part.header)
        elif kind == "chunk":
            self._take(part.chunk)
        else:
            self._end(part.trailer)

    def finish(self) -> None:
        """Check that nothing is missing.

        Raises:
            DataLossError: The trailer never came.
        """
        if not self._ended:
            message = f"the reply ends after {self.received_bytes} of {self.total_bytes} bytes"
            raise DataLossError(message, reason="TRUNCATED_REPLY")

    def _begin(self, header: state_pb2.StateDictHeader) -> None:
        if header.total_bytes < 0:
            raise InternalError(f"the reply announces {header.total_bytes} bytes", reason="MALFORMED_REPLY")
        self._begun = True
        self.version, self.total_bytes = header.version, header.total_bytes
        self._sink.begin(header.total_bytes)

    def _take(self, chunk: bytes) -> None:
        self.received_bytes += len(chunk)
        if self.received_bytes > self.total_bytes:
            message = f"the reply holds more than the {self.total_bytes} bytes of its header"
            raise InternalError(message, reason="MALFORMED_REPLY")
        self._digest.update(chunk)
        self._sink.write(chunk)

    def _end(self, trailer: state_pb2.StateDictTrailer) -> None:
        self._ended = True
        if self.received_bytes != self.total_bytes or self._digest.digest() != trailer.sha256:
            message = "the weights have been damaged on their way: their checksum is wrong"
            raise DataLossError(message, reason="CHECKSUM_MISMATCH")
