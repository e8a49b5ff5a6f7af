"""Sends a request in parts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Final, TypeVar

import grpc

from gradserve._errors import UnavailableError
from gradserve._event_loop.stall import StallGuard

_NOT_TOLD: Final = "Internal error from Core"
"""gRPC's own words where it knows of a failure, and not of the status."""

_SECONDS_TO_HEAR_WHY: Final = 0.1
_PAUSE: Final = 0.001

Part = TypeVar("Part")
Reply = TypeVar("Reply")
Metadata = tuple[tuple[str, str | bytes], ...]


async def upload(
    method: grpc.aio.StreamUnaryMultiCallable[Part, Reply], parts: Iterator[Part], metadata: Metadata, guard: StallGuard
) -> Reply:
    """Send all parts, each when there is room for it, and return the reply.

    Raises:
        grpc.RpcError: The call failed.
        UnavailableError: It failed, and nobody knows how; it may be made again.
        Exception: What gives the parts failed.
    """
    call = method(metadata=metadata)
    async with guard.watching(call):
        for part in parts:
            guard.touch()
            try:
                await call.write(part)
            except asyncio.InvalidStateError:
                break  # The server has answered without waiting for the rest.
            except grpc.RpcError:
                await _hear_why(call)
                break
        guard.touch()
        await call.done_writing()
        return await call


async def _hear_why(call: grpc.aio.StreamUnaryCall[Part, Reply]) -> None:
    """Wait for the server's status: gRPC may tell that a part could not be sent before it tells why.

    Raises:
        UnavailableError: gRPC has put the one in the place of the other.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(_SECONDS_TO_HEAR_WHY):
            while await call.details() == _NOT_TOLD:  # noqa: ASYNC110 - gRPC tells nobody of the second status
                await asyncio.sleep(_PAUSE)
            return
    raise UnavailableError("the server's answer was lost")
