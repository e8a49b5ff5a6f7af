"""A dashboard as Grafana's JSON describes it: what is needed to draw it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from deploy.grafana.render.durations import duration_of
from deploy.grafana.render.prometheus import Window

GRADSERVE = Path(__file__).resolve().parents[1] / "dashboards" / "gradserve.json"
"""The file of Gradserve's own dashboard."""


@dataclass(frozen=True)
class Box:
    """Where a panel is: in Grafana's grid of 24 columns."""

    x: int
    y: int
    w: int
    h: int


@dataclass(frozen=True)
class Target:
    """One query of a panel.

    Attributes:
        expression: In PromQL, with Grafana's variables.
        legend: What its series are called, with labels in double braces.
        instant: Whether one value is asked for, at the end of the window.
    """

    expression: str
    legend: str
    instant: bool

    def name(self, labels: Mapping[str, str]) -> str:
        """What the series with these labels is called."""
        return re.sub(r"{{\s*(\w+)\s*}}", lambda label: labels.get(label[1], ""), self.legend)


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title: What stands above it.
        kind: Grafana's name of it: "timeseries", "heatmap", "stat" or "row".
        box: Where it is.
        targets: Its queries.
        unit: Grafana's name of the unit of its values.
        decimals: How many of them are told; None leaves it to the value.
        colours: Of series that have one of their own, by their names.
        thresholds: Colours, each from a value upwards, the lowest first.
        options: Those of its kind, as Grafana has them.
        style: How lines are drawn, as Grafana has it: `fieldConfig.defaults.custom`.
        empty: What is told where there is nothing to draw.
    """

    title: str
    kind: str
    box: Box
    targets: tuple[Target, ...]
    unit: str
    decimals: int | None
    colours: Mapping[str, str]
    thresholds: tuple[tuple[float, str], ...]
    options: Mapping[str, Any]
    style: Mapping[str, Any]
    empty: str

    @classmethod
    def of(cls, panel: Mapping[str, Any]) -> Self:
        """A panel of a dashboard's JSON."""
        fields = panel.get("fieldConfig", {"defaults": {}, "overrides": []})
        defaults = fields["defaults"]
        return cls(
            title=panel["title"],
            kind=panel["type"],
            box=Box(**panel["gridPos"]),
            targets=tuple(
                Target(target["expr"], target["legendFormat"], target.get("instant", False))
                for target in panel.get("targets", ())
            ),
            unit=defaults.get("unit", "none"),
            decimals=defaults.get("decimals"),
            colours=dict(_colours(fields["overrides"])),
            thresholds=tuple(
                (float("-inf") if step["value"] is None else step["value"], step["color"])
                for step in defaults.get("thresholds", {"steps": ()})["steps"]
            ),
            options=panel.get("options", {}),
            style=defaults.get("custom", {}),
            empty=defaults.get("noValue", "No data"),
        )


def _colours(overrides: list[Any]) -> Iterator[tuple[str, str]]:
    for override in overrides:
        for option in override["properties"]:
            if override["matcher"]["id"] == "byName" and option["id"] == "color":
                yield override["matcher"]["options"], option["value"]["fixedColor"]


@dataclass(frozen=True)
class Dashboard:
    """A dashboard.

    Attributes:
        title: Its name.
        panels: All that it shows, its rows' headings included.
        variables: What can be chosen on it, by the names in queries; each is a regular expression that takes all.
        labels: What people call the variables.
        annotations: Queries, each of which marks the times at which it has values.
    """

    title: str
    panels: tuple[Panel, ...]
    variables: Mapping[str, str]
    labels: tuple[str, ...]
    annotations: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> Self:
        """The dashboard in a file.

        Raises:
            OSError: The file cannot be read.
        """
        board = json.loads(path.read_text())
        variables = [variable for variable in board["templating"]["list"] if variable["type"] == "query"]
        return cls(
            title=board["title"],
            panels=tuple(Panel.of(panel) for panel in board["panels"]),
            variables={variable["name"]: variable["allValue"] for variable in variables},
            labels=tuple(variable["label"] for variable in variables),
            annotations=tuple(annotation["expr"] for annotation in board["annotations"]["list"]),
        )

    def substitute(self, expression: str, window: Window, scrape_interval: float) -> str:
        """An expression with the values of Grafana's variables, where everything is chosen.

        `$__rate_interval` is Grafana's: long enough to hold several scrapes, and to leave none out between two points.
        """
        values = {
            **self.variables,
            "__rate_interval": duration_of(max(window.step + scrape_interval, 4 * scrape_interval)),
            "__range": duration_of(window.end - window.start),
        }
        return re.sub(r"\$(\w+)", lambda variable: values[variable[1]], expression)
