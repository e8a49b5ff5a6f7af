"""A histogram as Prometheus has them: how many values were at most each bound, and their sum."""

from __future__ import annotations

from bisect import bisect_left
from functools import cache
from itertools import accumulate

from prometheus_client.utils import floatToGoString

RPC_SECONDS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds for whole calls."""

COMPUTE_SECONDS = (0.00001, 0.00002, 0.00005, *RPC_SECONDS)
"""Bounds for what happens inside the server: a small model computes in tens of microseconds."""

STATE_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Bounds for calls that move or keep weights: the large ones are as slow as a disk or a network."""

ROWS = tuple(float(2**power) for power in range(17))
"""Bounds for the rows of a batch: 1, 2, 4 to 65536."""


class Histogram:
    """Counts values by the smallest bound that they do not exceed."""

    __slots__ = ("_bounds", "_counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self._counts)

    def copy(self) -> Histogram:
        """One with the same numbers, that later values do not change."""
        twin = Histogram(self._bounds)
        twin._counts = self._counts.copy()
        twin.sum = self.sum
        return twin

    def buckets(self) -> list[tuple[str, float]]:
        """Each bound as a label's value, "+Inf" the last, with the number of values that do not exceed it."""
        return list(zip(_labels(self._bounds), accumulate(self._counts), strict=True))


@cache
def _labels(bounds: tuple[float, ...]) -> tuple[str, ...]:
    return (*map(floatToGoString, bounds), "+Inf")
