"""Tells whoever waits that something about the server's state has changed."""

from __future__ import annotations

import asyncio


class Changes:
    """A broadcast without content: waiters look for themselves. Belongs to one event loop."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def announce(self) -> None:
        """Wake everybody who waits for the change that happens now."""
        happened, self._next = self._next, asyncio.Event()
        happened.set()

    @property
    def next(self) -> asyncio.Event:
        """The coming change. Take it before looking at the state, then none is missed."""
        return self._next
