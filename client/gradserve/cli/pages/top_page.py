"""The page of what a server does."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.filesize import decimal
from rich.text import Text

from gradserve.cli.pages.page import plain_table, screen_table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from gradserve.cli.live.activity import Activity, ModelActivity

__all__ = ["TopPage"]

_HEADER: Final = (
    "model",
    "version",
    "operation",
    "ok/s",
    "failed/s",
    "rows/s",
    "p50 ms",
    "p99 ms",
    "queue ms",
    "rows/batch",
    "busy %",
)
_NUMBERS: Final = ("version", *_HEADER[3:])
_LINES_AROUND: Final = 8


@dataclass(frozen=True)
class TopPage:
    """What a server did in the last moments.

    Attributes:
        target: The server's address.
        activity: What was read of it.
        height: The lines that there are for it on a terminal; None for no limit.
    """

    target: str
    activity: Activity
    height: int | None = None

    def document(self) -> dict[str, Any]:
        """Return every attribute of Activity."""
        return asdict(self.activity)

    def plain(self) -> str:
        """Return the facts about the server, and a table with tabs."""
        facts = "\n".join(f"{name}: {value}" for name, value in self._facts().items())
        return f"{facts}\n\n{plain_table(_HEADER, map(_cells, self.activity.models))}"

    def screen(self, _width: int) -> RenderableType:
        """Return the same with as many models, the busiest first, as there is room for."""
        models = self.activity.models
        shown = models if self.height is None else models[: max(1, self.height - _LINES_AROUND)]
        title = Text(f"gradserve {self.activity.version} on {self.target}", style="bold")
        facts = Text(" · ".join(f"{name} {value}" for name, value in self._facts().items()))
        table = screen_table(_HEADER, [], numbers=_NUMBERS)
        for model in shown:
            style = "red" if model.failed_per_second else "" if model.ok_per_second else "dim"
            table.add_row(*_cells(model), style=style)
        left = len(models) - len(shown)
        return Group(title, facts, table, *([Text(f"and {left} quieter ones")] if left else []))

    def _facts(self) -> dict[str, str]:
        activity = self.activity
        facts = {"in flight": str(activity.in_flight), "waiting": str(sum(activity.waiting.values()))}
        if activity.cores is not None and activity.resident_bytes is not None:
            facts |= {"cores": f"{activity.cores:.2f}", "memory": decimal(activity.resident_bytes)}
        return facts | {f"{memory.device} {memory.kind}": decimal(memory.bytes) for memory in activity.devices}


def _cells(row: ModelActivity) -> tuple[str, ...]:
    return (
        row.model,
        str(row.version),
        row.operation or "-",
        _rate(row.ok_per_second),
        _rate(row.failed_per_second),
        _rate(row.rows_per_second),
        _ms(row.p50_seconds),
        _ms(row.p99_seconds),
        _ms(row.queue_seconds),
        "-" if row.rows_per_batch is None else f"{row.rows_per_batch:.1f}",
        f"{100 * row.busy:.0f}",
    )


def _rate(value: float) -> str:
    return f"{value:.1f}"


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.3g}"
