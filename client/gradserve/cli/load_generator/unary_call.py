"""One unary call that is made again and again: its bytes are built once."""

from __future__ import annotations

from dataclasses import dataclass

import grpc

from gradserve.cli.load_generator.answer import Ending

__all__ = ["UnaryCall"]

_OK = Ending()


@dataclass(frozen=True)
class UnaryCall:
    """A method with the request to send it. Replies are not read: the server has made them all the same.

    Attributes:
        method: Takes and gives bytes.
        request: The message.
        timeout: Seconds for each call; None for no limit.
        metadata: What goes with each.
    """

    method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
    request: bytes
    timeout: float | None = None
    metadata: tuple[tuple[str, str | bytes], ...] = ()

    async def __call__(self) -> Ending:
        """Make the call and tell how it ended."""
        try:
            await self.method(self.request, timeout=self.timeout, metadata=self.metadata)
        except grpc.aio.AioRpcError as error:
            return Ending(error.code().name, _pushback(error))
        return _OK


def _pushback(error: grpc.aio.AioRpcError) -> str | None:
    trailers = dict(error.trailing_metadata() or ())
    pushback = trailers.get("grpc-retry-pushback-ms")
    return pushback if isinstance(pushback, str) else None
