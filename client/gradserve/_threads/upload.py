"""Sends a request in parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Generic, TypeVar

import grpc

from gradserve._threads.stall import StallGuard

Part = TypeVar("Part")
Reply = TypeVar("Reply")
Metadata = tuple[tuple[str, str | bytes], ...]


def upload(
    method: grpc.StreamUnaryMultiCallable[Part, Reply], parts: Iterator[Part], metadata: Metadata, guard: StallGuard
) -> Reply:
    """Send all parts, each when there is room for it, and return the reply.

    Raises:
        grpc.RpcError: The call failed.
        Exception: What gives the parts failed.
    """
    outgoing = _Outgoing(parts, guard)
    call = method.future(outgoing, metadata=metadata)
    with guard.watching(call):
        try:
            reply = call.result()
        except (grpc.RpcError, grpc.FutureCancelledError) as error:
            if outgoing.error is not None:
                raise outgoing.error from error
            raise
    if outgoing.error is not None:
        raise outgoing.error
    return reply


class _Outgoing(Iterator[Part], Generic[Part]):
    """The parts of a request as gRPC's own thread asks for them.

    Attributes:
        error: What kept the parts from coming; gRPC would only log it.
    """

    def __init__(self, parts: Iterator[Part], guard: StallGuard) -> None:
        self._parts: Final = parts
        self._guard: Final = guard
        self.error: Exception | None = None

    def __next__(self) -> Part:
        self._guard.touch()
        try:
            return next(self._parts)
        except StopIteration:
            raise
        except Exception as error:  # noqa: BLE001 - it is raised again where the caller waits
            self.error = error
            # Without its trailer the request is not whole, and the server refuses it.
            raise StopIteration from None
