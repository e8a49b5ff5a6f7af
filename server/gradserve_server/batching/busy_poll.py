"""Staying awake for a caller who comes again at once."""

from __future__ import annotations

import asyncio
import math
from time import perf_counter

from gradserve_server.batching import policy


class BusyPoll:
    """Keeps the event loop from falling asleep for a moment after an answer. Belongs to one event loop.

    To wake a thread that sleeps takes longer than a small model computes. Who asks again as soon as he has his answer,
    as an optimiser or a controller does, is heard at once by a loop that is still awake. Linux does the same for its
    sockets, and calls it busy polling.
    """

    def __init__(self, seconds: float) -> None:
        """Start with nobody to stay awake for.

        Args:
            seconds: How long to stay awake; 0 for not at all.
        """
        self._seconds = seconds
        self._answered = -math.inf
        self._until = -math.inf
        self._turn: asyncio.Handle | None = None

    def answered(self, arrived: float) -> None:
        """Stay awake after an answer, if its caller is likely to come again soon.

        Args:
            arrived: When the request came, by `time.perf_counter`.
        """
        pause, self._answered = arrived - self._answered, perf_counter()
        if policy.comes_again_soon(pause, self._seconds):
            self._until = self._answered + self._seconds
            if self._turn is None:
                self._turn = asyncio.get_running_loop().call_soon(self._go_on)

    def stop(self) -> None:
        """Let the loop sleep, as another thread is at work."""
        self._until = -math.inf

    def _go_on(self) -> None:
        is_over = perf_counter() >= self._until
        self._turn = None if is_over else asyncio.get_running_loop().call_soon(self._go_on)
