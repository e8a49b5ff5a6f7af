"""A value that is read again and again while something else happens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Self


class Sampled:
    """Reads a value at an interval inside a block, on a thread of its own.

    Attributes:
        samples: When each was read, as `time.monotonic()`, and what it was.
    """

    def __init__(self, read: Callable[[], float], interval: float) -> None:
        self.samples: list[tuple[float, float]] = []
        self._read = read
        self._interval = interval
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end.set()
        self._thread.join()

    @property
    def values(self) -> list[float]:
        """What was read, in order."""
        return [value for _, value in self.samples]

    def _sample(self) -> None:
        ended = False
        while not ended:
            self.samples.append((time.monotonic(), self._read()))
            ended = self._end.wait(self._interval)
