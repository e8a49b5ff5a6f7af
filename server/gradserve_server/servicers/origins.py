"""Where a request comes from, as the batcher asks it."""

from __future__ import annotations

import time
from collections.abc import Callable

from gradserve_server.batching.request import Origin
from gradserve_server.rpc import Context


class CallOrigin:
    """The origin of a request, or of all requests of a stream.

    Attributes:
        caller: His identity. Without token and certificate that is an address: each connection is a caller of its own.
    """

    __slots__ = ("_context", "caller")

    def __init__(self, context: Context, identity: Callable[[Context], str]) -> None:
        """Take note of the caller, in whose task alone his token is known: requests are let in in others' turns."""
        self._context = context
        self.caller = identity(context)

    @property
    def seconds_left(self) -> float | None:
        """The time to the call's deadline; None if it has none."""
        return self._context.time_remaining()


class ItemOrigin:
    """The origin of one request, which may have less time than its call.

    Attributes:
        caller: That of the call.
    """

    __slots__ = ("_call", "_deadline", "caller")

    def __init__(self, call: Origin, timeout: float) -> None:
        """Take note of the time.

        Args:
            call: Where its call comes from.
            timeout: The seconds that the request has from now on.
        """
        self._call = call
        self.caller = call.caller
        self._deadline = time.monotonic() + timeout

    @property
    def seconds_left(self) -> float:
        """The time to the request's own deadline, or to the call's where that is nearer."""
        own, of_call = self._deadline - time.monotonic(), self._call.seconds_left
        return own if of_call is None else min(own, of_call)
