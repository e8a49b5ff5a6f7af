"""Where a request comes from, as the batcher asks it."""

from __future__ import annotations

import time
from collections.abc import Callable

from gradserve_server.rpc import Context


class CallOrigin:
    """The origin of a request, read off its call when asked."""

    __slots__ = ("_context", "_identity")

    def __init__(self, context: Context, identity: Callable[[Context], str]) -> None:
        self._context = context
        self._identity = identity

    @property
    def caller(self) -> str:
        """His identity. Without token and certificate that is an address: each connection is a caller of its own."""
        return self._identity(self._context)

    @property
    def seconds_left(self) -> float | None:
        """The time to the call's deadline; None if it has none."""
        return self._context.time_remaining()


class ItemOrigin(CallOrigin):
    """The origin of one request of a stream, which may have less time than the stream."""

    __slots__ = ("_deadline",)

    def __init__(self, context: Context, identity: Callable[[Context], str], timeout: float) -> None:
        """Take note of the time.

        Args:
            context: The stream's.
            identity: Gives the caller of a stream.
            timeout: The seconds that the request has from now on.
        """
        super().__init__(context, identity)
        self._deadline = time.monotonic() + timeout

    @property
    def seconds_left(self) -> float:
        """The time to the request's own deadline, or to the stream's where that is nearer."""
        own, of_stream = self._deadline - time.monotonic(), super().seconds_left
        return own if of_stream is None else min(own, of_stream)
