"""The two streams of StateService that carry a state_dict: the one that goes out, and the one that comes in."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING

from gradserve.v1 import state_pb2
from gradserve_server.engine.state import CHUNK_BYTES, StateDict
from gradserve_server.errors import InvalidArgument
from gradserve_server.servicers.pace import Pace
from gradserve_server.uploads import Incoming

if TYPE_CHECKING:
    from hashlib import _Hash

_SHA256_BYTES = 32

_WINDOW = 2
"""The chunks that a thread is given at once: a hop to it for each would cost as much as it saves."""


_LARGE_CHUNKS = 8
_SMALL_CHUNK_BYTES = 64 * 1024


class LargeChunks:
    """The large chunks that may be on their way to readers at one time, in all streams of a server.

    gRPC holds a chunk three times until its reader has taken it, and who asks for weights need not take any. So only
    some streams have a large chunk under way; the others send small ones, which takes them more time and holds less.
    """

    def __init__(self) -> None:
        self._free = _LARGE_CHUNKS

    @contextmanager
    def parts(self, chunk: bytes | memoryview) -> Iterator[Iterator[bytes]]:
        """A chunk for the time in which it is sent: in one part if there is room for that, else in small ones."""
        size = len(chunk) if self._free else _SMALL_CHUNK_BYTES
        takes_room = size > _SMALL_CHUNK_BYTES
        self._free -= takes_room
        try:
            yield (bytes(chunk[start : start + size]) for start in range(0, len(chunk), size))
        finally:
            self._free += takes_room


async def outgoing(
    state: StateDict, chunk_bytes: int, large_chunks: LargeChunks
) -> AsyncIterator[state_pb2.GetStateDictResponse]:
    """The chunks and the trailer. A checksum that is not known yet is computed beside the event loop."""
    chunks, digest = state.chunks(chunk_bytes), hashlib.sha256()
    while window := tuple(islice(chunks, _WINDOW)):
        hashing = None
        if state.sha256 is None:
            hashing = asyncio.create_task(asyncio.to_thread(_hash, digest, window))
        for chunk in window:
            with large_chunks.parts(chunk) as parts:
                for part in parts:
                    yield state_pb2.GetStateDictResponse(chunk=part)
        if hashing is not None:
            await hashing
    sha256 = digest.digest() if state.sha256 is None else state.sha256
    yield state_pb2.GetStateDictResponse(trailer=state_pb2.StateDictTrailer(sha256=sha256))


def _hash(digest: _Hash, chunks: Iterable[bytes | memoryview]) -> None:
    for chunk in chunks:
        digest.update(chunk)


class Parts:
    """The stream of LoadStateDict, part by part. A sender that is too slow is not waited for."""

    def __init__(self, requests: AsyncIterator[state_pb2.LoadStateDictRequest], pace: Pace) -> None:
        self._requests = requests
        self._pace = pace

    async def header(self) -> state_pb2.LoadStateDictHeader:
        """The first part."""
        part = await self._next()
        if part.WhichOneof("part") != "header":
            raise InvalidArgument("the first part must be a header", field="header")
        return part.header

    async def into(self, incoming: Incoming) -> state_pb2.StateDictTrailer:
        """Hand all chunks on, a window of them while the next one arrives, and give the last part."""
        window: list[bytes] = []
        while True:
            part = await self._next()
            match part.WhichOneof("part"):
                case "chunk" if len(part.chunk) <= CHUNK_BYTES:
                    window.append(part.chunk)
                    if len(window) == _WINDOW:
                        await incoming.feed(window)
                        window = []
                case "chunk":
                    raise InvalidArgument(f"a chunk has at most {CHUNK_BYTES} bytes", field="chunk")
                case "trailer" if len(part.trailer.sha256) == _SHA256_BYTES:
                    await incoming.feed(window)
                    return part.trailer
                case "trailer":
                    raise InvalidArgument(f"must have {_SHA256_BYTES} bytes", field="trailer.sha256")
                case _:
                    raise InvalidArgument("a second header, or an empty part", field="header")

    async def _next(self) -> state_pb2.LoadStateDictRequest:
        clock = asyncio.get_running_loop().time
        begun = clock()
        try:
            async with asyncio.timeout(self._pace.patience):
                part = await anext(self._requests)
        except TimeoutError:
            raise self._pace.refusal() from None
        except StopAsyncIteration:
            raise InvalidArgument("the stream ended before its trailer", field="trailer") from None
        self._pace.part_came(len(part.chunk), clock() - begun)
        return part
