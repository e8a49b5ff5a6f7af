"""Where a request comes from, as the batcher asks it."""

from __future__ import annotations

import time
from collections.abc import Callable

from gradserve_server.batching.request import Origin
from gradserve_server.rpc import Context


class CallOrigin:
    """The origin of a request, or of all requests of a stream, read off the call when asked."""

    __slots__ = ("_caller", "_context", "_identity")

    def __init__(self, context: Context, identity: Callable[[Context], str]) -> None:
        self._context = context
        self._identity = identity
        self._caller: str | None = None

    @property
    def caller(self) -> str:
        """His identity. Without token and certificate that is an address: each connection is a caller of its own."""
        if self._caller is None:
            self._caller = self._identity(self._context)
        return self._caller

    @property
    def seconds_left(self) -> float | None:
        """The time to the call's deadline; None if it has none."""
        return self._context.time_remaining()


class ItemOrigin:
    """The origin of one request, which may have less time than its call."""

    __slots__ = ("_call", "_deadline")

    def __init__(self, call: Origin, timeout: float) -> None:
        """Take note of the time.

        Args:
            call: Where its call comes from.
            timeout: The seconds that the request has from now on.
        """
        self._call = call
        self._deadline = time.monotonic() + timeout

    @property
    def caller(self) -> str:
        """That of the call."""
        return self._call.caller

    @property
    def seconds_left(self) -> float:
        """The time to the request's own deadline, or to the call's where that is nearer."""
        own, of_call = self._deadline - time.monotonic(), self._call.seconds_left
        return own if of_call is None else min(own, of_call)
