"""Pages about speed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.bar import Bar
from rich.console import Group
from rich.text import Text

from gradserve.cli.load_generator.load import ClosedLoop
from gradserve.cli.load_generator.summary import QUANTILES
from gradserve.cli.pages.page import plain_table, screen_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from gradserve.cli.load_generator.load import Load
    from gradserve.cli.load_generator.summary import Summary

__all__ = ["BenchPage", "SweepPage"]

_FLAT: Final = 0.95
"""The share of the highest rate from which on more callers only wait longer."""
_BAR_COLUMNS: Final = 30


@dataclass(frozen=True)
class BenchPage:
    """One load and what came of it.

    Attributes:
        model: The model's name.
        operation: "forward" or "gradient".
        rows: The rows of each call's input.
        results: The load and its summary, alone.
    """

    model: str
    operation: str
    rows: int
    results: Sequence[tuple[Load, Summary]]

    def document(self) -> dict[str, Any]:
        """Return the load, counts by status, rates, and latencies in seconds."""
        ((load, summary),) = self.results
        return {
            "model": self.model,
            "operation": self.operation,
            "rows": self.rows,
            **_document(load, summary),
        }

    def plain(self) -> str:
        """Return the same as lines of name and value."""
        return "\n".join(f"{name}: {value}" for name, value in self._shown())

    def screen(self, _width: int) -> RenderableType:
        """Return the same as a table."""
        title = _title(self.operation, self.model, self.rows)
        return screen_table((title, ""), self._shown(), numbers=("",))

    def _shown(self) -> list[tuple[str, str]]:
        ((load, summary),) = self.results
        rate = summary.ok_per_second
        return [
            ("load", str(load)),
            ("calls/s", f"{rate:.1f}"),
            ("rows/s", f"{rate * self.rows:.1f}"),
            *((f"{name} ms", _ms(seconds)) for name, seconds in summary.latency.items()),
            *((code, str(count)) for code, count in summary.codes.items()),
            *([("sent late by (p99) ms", _ms(summary.lateness))] if not isinstance(load, ClosedLoop) else []),
        ]


@dataclass(frozen=True)
class SweepPage:
    """Loads with more and more callers.

    Attributes:
        model: The model's name.
        operation: "forward" or "gradient".
        rows: The rows of each call's input.
        results: Each load and its summary.
    """

    model: str
    operation: str
    rows: int
    results: Sequence[tuple[Load, Summary]]

    def document(self) -> dict[str, Any]:
        """Return each load as `BenchPage.document` does, and where saturation is."""
        load, summary = self._saturation()
        return {
            "model": self.model,
            "operation": self.operation,
            "rows": self.rows,
            "saturation": _document(load, summary),
            "loads": [_document(load, summary) for load, summary in self.results],
        }

    def plain(self) -> str:
        """Return a table with tabs."""
        return plain_table(self._header(), self._cells())

    def screen(self, _width: int) -> RenderableType:
        """Return a table with a bar for each rate, and where saturation is."""
        table = screen_table(self._header(), [], numbers=self._header())
        table.add_column("")
        highest = max(summary.ok_per_second for _, summary in self.results) or 1.0
        for cells, (_, summary) in zip(self._cells(), self.results, strict=True):
            table.add_row(*cells, Bar(highest, 0, summary.ok_per_second, width=_BAR_COLUMNS))
        load, summary = self._saturation()
        found = f"saturated at {summary.ok_per_second:.0f} calls/s, reached with {load}"
        title = Text(_title(self.operation, self.model, self.rows), style="bold")
        return Group(title, table, Text(found))

    def _saturation(self) -> tuple[Load, Summary]:
        highest = max(summary.ok_per_second for _, summary in self.results)
        return next(result for result in self.results if result[1].ok_per_second >= _FLAT * highest)

    def _header(self) -> tuple[str, ...]:
        return ("callers", "calls/s", *(f"{name} ms" for name in QUANTILES), "failed")

    def _cells(self) -> list[tuple[str, ...]]:
        return [_cells(load, summary) for load, summary in self.results]


def _cells(load: Load, summary: Summary) -> tuple[str, ...]:
    callers = str(load.concurrency) if isinstance(load, ClosedLoop) else ""
    latency = (_ms(summary.latency[name]) if summary.latency else "" for name in QUANTILES)
    failed = sum(summary.codes.values()) - summary.codes["OK"]
    return (callers, f"{summary.ok_per_second:.1f}", *latency, str(failed))


def _document(load: Load, summary: Summary) -> dict[str, Any]:
    return {
        **asdict(load),
        "seconds": summary.seconds,
        "ok_per_second": summary.ok_per_second,
        "codes": dict(summary.codes),
        "latency_seconds": dict(summary.latency),
        "lateness_seconds": summary.lateness,
    }


def _title(operation: str, model: str, rows: int) -> str:
    return f"{operation} {model}, {rows} {'row' if rows == 1 else 'rows'} a call"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g}"
