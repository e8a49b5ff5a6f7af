"""From arguments to the messages of StateService: pure functions, for whoever carries the calls."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

from gradserve._refusals import optional_int64
from gradserve.v1 import state_pb2

CHUNK_BYTES: Final = 1024 * 1024
"""The most bytes of one chunk that any server takes."""


@dataclass(frozen=True)
class LoadOptions:
    """How weights are to be loaded.

    Attributes:
        strict: Whether keys must match exactly.
        keys: Globs over the keys to load; empty for all.
        if_version: The version that the model must be at; None for any.
        durable: Whether the weights are on disk before the reply.
        cast: Whether another floating dtype is converted.
        request_id: What tells a repeated request from a new one; None to have one drawn.
    """

    strict: bool
    keys: str | Sequence[str]
    if_version: int | None
    durable: bool
    cast: bool
    request_id: str | None


def get(model: str, keys: str | Sequence[str], if_version: int | None) -> state_pb2.GetStateDictRequest:
    """Return the request of GetStateDict."""
    version = optional_int64("if_version", if_version)
    return state_pb2.GetStateDictRequest(model=model, keys=_globs(keys), if_version=version)


def load_header(model: str, options: LoadOptions, total_bytes: int) -> state_pb2.LoadStateDictHeader:
    """Return the first part of LoadStateDict. It always has a request id, so that it may be repeated."""
    return state_pb2.LoadStateDictHeader(
        model=model,
        strict=options.strict,
        keys=_globs(options.keys),
        if_version=optional_int64("if_version", options.if_version),
        durable=options.durable,
        cast=options.cast,
        request_id=secrets.token_hex(16) if options.request_id is None else options.request_id,
        total_bytes=total_bytes,
    )


def load(header: state_pb2.LoadStateDictHeader, chunks: Iterable[bytes]) -> Iterator[state_pb2.LoadStateDictRequest]:
    """Give the parts of LoadStateDict: the header, the chunks, and the checksum of what was in them."""
    yield state_pb2.LoadStateDictRequest(header=header)
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
        yield state_pb2.LoadStateDictRequest(chunk=chunk)
    yield state_pb2.LoadStateDictRequest(trailer=state_pb2.StateDictTrailer(sha256=digest.digest()))


def chunks_of(pieces: Iterable[memoryview], size: int = CHUNK_BYTES) -> Iterator[bytes]:
    """Give the bytes of all pieces in chunks, each but the last of one size; each byte is copied once."""
    waiting: list[memoryview] = []
    room = size
    for piece in pieces:
        rest = piece
        while len(rest) >= room:
            yield b"".join((*waiting, rest[:room]))
            rest = rest[room:]
            waiting.clear()
            room = size
        waiting.append(rest)
        room -= len(rest)
    if room < size:
        yield b"".join(waiting)


def chunks_in(stream: BinaryIO, size: int = CHUNK_BYTES) -> Iterator[bytes]:
    """Give the bytes of a file from its beginning, in chunks of one size.

    Raises:
        OSError: It cannot be read.
    """
    stream.seek(0)
    while chunk := stream.read(size):
        yield chunk


def save_checkpoint(
    model: str, checkpoint: str, metadata: Mapping[str, str] | None, if_version: int | None
) -> state_pb2.SaveCheckpointRequest:
    """Return the request of SaveCheckpoint."""
    version = optional_int64("if_version", if_version)
    return state_pb2.SaveCheckpointRequest(
        model=model, checkpoint=checkpoint, metadata=metadata or {}, if_version=version
    )


def load_checkpoint(model: str, checkpoint: str, if_version: int | None) -> state_pb2.LoadCheckpointRequest:
    """Return the request of LoadCheckpoint."""
    version = optional_int64("if_version", if_version)
    return state_pb2.LoadCheckpointRequest(model=model, checkpoint=checkpoint, if_version=version)


def _globs(keys: str | Sequence[str]) -> Sequence[str]:
    return [keys] if isinstance(keys, str) else keys
