"""Going through very many things on a thread that is to leave the interpreter to others."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

ItemT = TypeVar("ItemT")

_WORK_SECONDS = 0.001
_PAUSE_SECONDS = 0.0005


def unhurried(items: Iterable[ItemT]) -> Iterator[ItemT]:
    """The items, with a pause after each millisecond.

    The interpreter takes its lock from a thread only after five milliseconds, and a thread that reads or writes gives
    it up many times for each call that it answers: beside one that never pauses a server stands still.
    """
    begun = time.perf_counter()
    for item in items:
        yield item
        if time.perf_counter() - begun > _WORK_SECONDS:
            time.sleep(_PAUSE_SECONDS)
            begun = time.perf_counter()


class Unhurried(list[ItemT]):
    """A list that is gone through with pauses."""

    def __iter__(self) -> Iterator[ItemT]:
        """Its items, as `unhurried`."""
        return unhurried(super().__iter__())
