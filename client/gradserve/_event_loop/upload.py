"""Sends a request in parts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TypeVar

import grpc

from gradserve._event_loop.stall import StallGuard
from gradserve._lost_status import told_by_server

Part = TypeVar("Part")
Reply = TypeVar("Reply")
Metadata = tuple[tuple[str, str | bytes], ...]


async def upload(
    method: grpc.aio.StreamUnaryMultiCallable[Part, Reply], parts: Iterator[Part], metadata: Metadata, guard: StallGuard
) -> Reply:
    """Send all parts, each when there is room for it, and return the reply.

    Raises:
        grpc.RpcError: The call failed.
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
            except grpc.RpcError as error:
                raise await told_by_server(call, error) from error
        guard.touch()
        await call.done_writing()
        return await call
