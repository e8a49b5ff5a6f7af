"""Where a call comes from, as the batcher asks it."""

from __future__ import annotations

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
