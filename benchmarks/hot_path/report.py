"""What a run measured: as a table, and as one JSON document."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.table import Table

from benchmarks.hot_path.figure import Figure, Reached
from benchmarks.machine import Machine


@dataclass(frozen=True)
class Report:
    """A whole run.

    Attributes:
        machine: What it ran on.
        seconds: Of each measurement.
        reached: Each figure.
        missing: What could not be measured, and why.
    """

    machine: Machine
    seconds: float
    reached: Sequence[Reached]
    missing: Sequence[str]

    def document(self) -> dict[str, Any]:
        """It as JSON: every round of every figure."""
        return {
            "machine": asdict(self.machine),
            "seconds": self.seconds,
            "missing": list(self.missing),
            "figures": [_document(reached) for reached in self.reached],
        }

    def table(self) -> Table:
        """It for a terminal: medians, and the ratios from the lowest to the highest."""
        title, caption = "The hot path: medians of interleaved rounds", str(self.machine)
        table = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, pad_edge=False)
        for heading in ("", "load"):
            table.add_column(heading, overflow="fold")
        for heading in ("here", "yardstick", "ratio (rounds)", "bare", "target"):
            table.add_column(heading, justify="right", overflow="fold")
        for reached in self.reached:
            figure = reached.figure
            style = None if reached.met else "bold"
            table.add_row(f"{figure.name} / {figure.yardstick}", figure.load, *_cells(reached), style=style)
        return table


def told_target(figure: Figure) -> str:
    """The target in words."""
    return f"{'<' if figure.is_ceiling else '≥'} {figure.target:g}"


def _cells(reached: Reached) -> tuple[str, ...]:
    ratios, bare = reached.ratios, reached.bare_ratio
    return (
        _value(reached.figure, statistics.median(each.ours for each in reached.rounds)),
        _value(reached.figure, statistics.median(each.theirs for each in reached.rounds)),
        f"{reached.ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        "" if bare is None else f"{bare:.2f}",
        f"{told_target(reached.figure)} {'met' if reached.met else 'MISSED'}",
    )


def _value(figure: Figure, value: float) -> str:
    return f"{value * 1000:.2f} ms" if figure.is_ceiling else f"{value:,.0f}/s"


def _document(reached: Reached) -> dict[str, Any]:
    figure = reached.figure
    return {
        "section": figure.section,
        "name": figure.name,
        "yardstick": figure.yardstick,
        "load": figure.load,
        "target": told_target(figure),
        "ratio": reached.ratio,
        "bare_ratio": reached.bare_ratio,
        "met": reached.met,
        "rounds": [asdict(each) for each in reached.rounds],
    }
