"""What many answers come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gradserve.cli.load_generator.answer import Answer

__all__ = ["QUANTILES", "Summary"]

QUANTILES: Final[Mapping[str, float]] = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
"""The percentiles that are told."""


@dataclass(frozen=True)
class Summary:
    """Counts, rate and latency of one load.

    Attributes:
        seconds: From its start to the last answer.
        codes: How many calls ended with each status; OK among them, even if none did.
        latency: The percentiles of the calls that ended OK, in seconds; empty if there is none.
        lateness: The 99th percentile of how late the client itself sent, in seconds: where it nears the latencies, they
            tell more of the client than of the server.
    """

    seconds: float
    codes: Mapping[str, int]
    latency: Mapping[str, float]
    lateness: float

    @staticmethod
    def of(answers: Sequence[Answer]) -> Summary:
        """Sum up; no answers make a summary of nothing."""
        counts = Counter(answer.code for answer in answers)
        return Summary(
            seconds=max((answer.done for answer in answers), default=0.0),
            codes={"OK": counts.pop("OK", 0), **dict(sorted(counts.items()))},
            latency=_quantiles([answer.latency for answer in answers if answer.code == "OK"]),
            lateness=_quantiles([answer.sent - answer.intended for answer in answers]).get("p99", 0.0),
        )

    @property
    def ok_per_second(self) -> float:
        """Calls a second that ended OK."""
        return self.codes["OK"] / self.seconds if self.seconds else 0.0


def _quantiles(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    # The nearest rank: each is a latency that some call had.
    found = np.quantile(values, list(QUANTILES.values()), method="inverted_cdf")
    return dict(zip(QUANTILES, map(float, found), strict=True))
