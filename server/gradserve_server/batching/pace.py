"""How fast a model is computed, as last seen."""

from __future__ import annotations

_WEIGHT = 0.2


class Pace:
    """The seconds that a unit of cost takes, as an exponentially weighted mean over batches."""

    def __init__(self) -> None:
        self._seconds_per_cost = 0.0

    def observe(self, cost: int, seconds: float) -> None:
        """A batch of that cost has taken so long."""
        observed = seconds / max(cost, 1)
        known = self._seconds_per_cost
        self._seconds_per_cost = observed if not known else known + _WEIGHT * (observed - known)

    def seconds(self, cost: int) -> float:
        """How long that cost would take; 0 before anything was seen."""
        return cost * self._seconds_per_cost
