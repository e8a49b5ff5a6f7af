"""Where a call comes from, as the batcher asks it."""

from __future__ import annotations

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
