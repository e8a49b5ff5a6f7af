"""The phases of a server's life, and what each allows."""

from __future__ import annotations

import enum

from gradserve_server.changes import Changes
from gradserve_server.errors import Unavailable


class Phase(enum.Enum):
    """Where a server is in its life.

    STARTING -> SERVING -> DRAINING -> STOPPED, and from STARTING straight to STOPPED if the start fails.
    """

    STARTING = enum.auto()
    """The port is open; models are being built and warmed up; calls are refused."""
    SERVING = enum.auto()
    """Calls are answered."""
    DRAINING = enum.auto()
    """Health says NOT_SERVING, so that callers turn away; those who still come are answered."""
    STOPPED = enum.auto()
    """No new calls; those in flight finish."""


_NEXT = {
    Phase.STARTING: {Phase.SERVING, Phase.STOPPED},
    Phase.SERVING: {Phase.DRAINING},
    Phase.DRAINING: {Phase.STOPPED},
    Phase.STOPPED: set(),
}


class Lifecycle:
    """The phase of one server. Every move is announced; an illegal one raises and changes nothing."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._phase = Phase.STARTING

    @property
    def phase(self) -> Phase:
        """Where the server is."""
        return self._phase

    def advance(self, phase: Phase) -> None:
        """Move on.

        Raises:
            ValueError: If that phase cannot follow.
        """
        if phase not in _NEXT[self._phase]:
            raise ValueError(f"{phase.name} cannot follow {self._phase.name}")
        self._phase = phase
        self._changes.announce()

    def check_started(self) -> None:
        """Refuse a call that comes too early.

        Raises:
            Unavailable: While the server is starting.
        """
        if self._phase is Phase.STARTING:
            raise Unavailable("the server is starting", reason="STARTING")
