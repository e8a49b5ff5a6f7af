"""What a panel shows: the answers to its queries, each series under its name."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from deploy.grafana.render.dashboard import Dashboard, Panel, Target
from deploy.grafana.render.prometheus import Prometheus, Series, Window

Values: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """One series.

    Attributes:
        name: What the panel calls it.
        values: At the window's points, or one at its end; NaN where there is none, [points] or [1].
    """

    name: str
    values: Values

    def last(self) -> float:
        """The newest value; NaN if there is none."""
        known = self.values[np.isfinite(self.values)]
        return float(known[-1]) if len(known) else math.nan


@dataclass(frozen=True)
class Source:
    """Answers a dashboard's queries out of a Prometheus, for one window.

    Attributes:
        prometheus: That Prometheus.
        dashboard: Whose variables the queries have.
        window: What is shown.
        scrape_interval: Seconds between two scrapes.
    """

    prometheus: Prometheus
    dashboard: Dashboard
    window: Window
    scrape_interval: float

    def lines(self, panel: Panel) -> list[Line]:
        """The series of a panel that have values, sorted by name within each query.

        Raises:
            OSError: Prometheus cannot be reached, or refuses a query.
        """
        found = []
        for target in panel.targets:
            named = [Line(target.name(series.labels), series.values) for series in self._ask(target)]
            found += sorted(named, key=lambda line: line.name)
        return [line for line in found if np.isfinite(line.values).any()]

    def marks(self) -> list[float]:
        """When something began that the dashboard annotates: seconds since 1970.

        Raises:
            OSError: Prometheus cannot be reached, or refuses a query.
        """
        times, marks = self.window.times(), []
        for expression in self.dashboard.annotations:
            for series in self.prometheus.query_range(self._substitute(expression), self.window):
                there = np.isfinite(series.values)
                marks += list(times[there & ~np.insert(there[:-1], 0, False)])
        return sorted(set(marks))

    def _ask(self, target: Target) -> list[Series]:
        expression = self._substitute(target.expression)
        if target.instant:
            return self.prometheus.query(expression, self.window.end)
        return self.prometheus.query_range(expression, self.window)

    def _substitute(self, expression: str) -> str:
        return self.dashboard.substitute(expression, self.window, self.scrape_interval)
