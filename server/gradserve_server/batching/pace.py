"""How fast a model is computed, as last seen."""

from __future__ import annotations

from typing import Final

_WEIGHT: Final = 0.2
_LEAST_COST: Final = 65_536


class Pace:
    """The seconds that a unit of cost takes, as an exponentially weighted mean over batches.

    Any batch takes some time for itself, however little there is to compute in it: below some cost, what a batch takes
    tells nothing of what a larger one would. A hundred multiply-adds that took the 20 ms of a cold start would have
    made hours of a second's work.
    """

    def __init__(self) -> None:
        self._seconds_per_cost = 0.0

    def observe(self, cost: int, seconds: float) -> None:
        """A batch of that cost has taken so long."""
        observed = seconds / max(cost, _LEAST_COST)
        known = self._seconds_per_cost
        self._seconds_per_cost = observed if not known else known + _WEIGHT * (observed - known)

    def seconds(self, cost: int) -> float:
        """How long that cost would take; 0 before anything was seen."""
        return cost * self._seconds_per_cost
