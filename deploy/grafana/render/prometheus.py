"""A Prometheus, asked over its HTTP API."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from deploy.grafana.render.durations import seconds_of

_TIMEOUT = 30.0


@dataclass(frozen=True)
class Window:
    """A stretch of time, and the points in it at which values are asked for.

    Attributes:
        start: Its first second since 1970.
        end: Its last.
        step: Seconds from one point to the next.
    """

    start: float
    end: float
    step: float

    def times(self) -> npt.NDArray[np.float64]:
        """The points: seconds since 1970, [points]."""
        return self.start + self.step * np.arange(int((self.end - self.start) / self.step) + 1, dtype=np.float64)


@dataclass(frozen=True)
class Series:
    """The values of an expression for one set of labels.

    Attributes:
        labels: That set.
        values: At the window's points; NaN where there is none, [points].
    """

    labels: Mapping[str, str]
    values: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus.

    Attributes:
        url: Where it answers, such as "http://localhost:9090".
    """

    url: str

    def query(self, expression: str, at: float) -> list[Series]:
        """The values of an expression at one time.

        Raises:
            OSError: It cannot be reached, or refuses the expression.
        """
        found = self.get("query", query=expression, time=f"{at:.3f}")["result"]
        return [Series(series["metric"], np.array([float(series["value"][1])])) for series in found]

    def query_range(self, expression: str, window: Window) -> list[Series]:
        """The values of an expression at the points of a window.

        Raises:
            OSError: It cannot be reached, or refuses the expression.
        """
        span = {"start": f"{window.start:.3f}", "end": f"{window.end:.3f}", "step": f"{window.step:.3f}"}
        found = self.get("query_range", query=expression, **span)["result"]
        return [Series(series["metric"], _on_points(series["values"], window)) for series in found]

    def scrape_interval(self) -> float:
        """The seconds between two scrapes of the target that is scraped least often.

        Raises:
            OSError: It cannot be reached.
            ValueError: It scrapes nothing.
        """
        return max(
            seconds_of(target["scrapeInterval"]) for target in self.get("targets", state="active")["activeTargets"]
        )

    def get(self, path: str, **parameters: str) -> Any:  # noqa: ANN401 - what JSON holds
        """What a path below /api/v1/ answers to a GET.

        Raises:
            OSError: It cannot be reached, or refuses.
        """
        url = f"{self.url.rstrip('/')}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as reply:  # noqa: S310 - the caller's own Prometheus
            return json.load(reply)["data"]


def _on_points(samples: list[tuple[float, str]], window: Window) -> npt.NDArray[np.float64]:
    values = np.full(len(window.times()), np.nan)
    for time, value in samples:
        values[round((time - window.start) / window.step)] = float(value)
    return values
