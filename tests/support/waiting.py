"""Waiting for what another process does in its own time."""

import threading
import time
from collections.abc import Callable

_PAUSE = 0.02


def seconds_until(happened: Callable[[], bool], at_most: float) -> float:
    """Wait until something is so, and give the seconds that it took.

    Raises:
        AssertionError: If it was not so in time.
    """
    start = time.monotonic()
    while not happened():
        assert time.monotonic() - start < at_most, f"not within {at_most} s"
        threading.Event().wait(_PAUSE)
    return time.monotonic() - start
