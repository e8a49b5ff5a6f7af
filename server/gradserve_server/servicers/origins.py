"""Where a request comes from, as the batcher asks it."""

from __future__ import annotations

import time

from gradserve_server.rpc import Context


class CallOrigin:
    """The origin of a request, read off its call when asked."""

    __slots__ = ("_context",)

    def __init__(self, context: Context) -> None:
        self._context = context

    @property
    def caller(self) -> str:
        """The caller's address: each connection is a caller of its own."""
        return self._context.peer()

    @property
    def seconds_left(self) -> float | None:
        """The time to the call's deadline; None if it has none."""
        return self._context.time_remaining()


class ItemOrigin(CallOrigin):
    """The origin of one request of a stream, which may have less time than the stream."""

    __slots__ = ("_deadline",)

    def __init__(self, context: Context, timeout: float) -> None:
        """Take note of the time.

        Args:
            context: The stream's.
            timeout: The seconds that the request has from now on.
        """
        super().__init__(context)
        self._deadline = time.monotonic() + timeout

    @property
    def seconds_left(self) -> float:
        """The time to the request's own deadline, or to the stream's where that is nearer."""
        own, of_stream = self._deadline - time.monotonic(), super().seconds_left
        return own if of_stream is None else min(own, of_stream)
