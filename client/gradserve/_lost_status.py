"""The status of a call that gRPC's asyncio has lost, as the server ended the call while a message was being sent."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import grpc

_NOT_TOLD: Final = "Internal error from Core"
"""gRPC's own words where it knows that a message could not be sent, and not why."""

_LOST: Final = "the server's answer was lost"

_SECONDS_TO_HEAR_WHY: Final = 0.1
_PAUSE: Final = 0.001


async def told_by_server(call: grpc.aio.Call, error: grpc.RpcError) -> grpc.RpcError:
    """Return the error of a call as the server has told it.

    Where the server ends a call while a message is being sent, gRPC's asyncio puts a status of its own in the place of
    the server's: mostly before that comes, and then it can be waited for; else it is lost, as with a connection.
    """
    if await call.details() != _NOT_TOLD:
        return error
    with suppress(TimeoutError):
        async with asyncio.timeout(_SECONDS_TO_HEAR_WHY):
            while await call.details() == _NOT_TOLD:  # noqa: ASYNC110 - gRPC tells nobody of the second status
                await asyncio.sleep(_PAUSE)
    code, details = await call.code(), await call.details()
    if details == _NOT_TOLD:
        code, details = grpc.StatusCode.UNAVAILABLE, _LOST
    return grpc.aio.AioRpcError(code, await call.initial_metadata(), await call.trailing_metadata(), details)
