"""The page about checked derivatives."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.bar import Bar
from rich.console import Group
from rich.text import Text

from gradserve.cli.pages.page import plain_table, screen_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    import gradserve

__all__ = ["CheckPage"]

_CHECKS: Final = ("check", "with respect to", "measured", "threshold", "passed")
_REMAINDERS: Final = ("with respect to", "step", "remainder")
_BAR_COLUMNS: Final = 40
_NOTHING: Final = 1e-18
"""What remainders of float64 do not fall below, but to 0."""


@dataclass(frozen=True)
class CheckPage:
    """What checking a model's derivatives came to.

    Attributes:
        model: The model's name.
        checked: The checks.
    """

    model: str
    checked: gradserve.CheckedGradients

    def document(self) -> dict[str, Any]:
        """Return every attribute of CheckedGradients; numbers that are not finite are null."""
        return {"model": self.model, **_finite(asdict(self.checked))}

    def plain(self) -> str:
        """Return the facts, a table of the checks, and one of the Taylor remainders."""
        passed = str(self.checked.passed).lower()
        facts = f"version: {self.checked.version}\nseed: {self.checked.seed}\npassed: {passed}"
        remainders = (_cells(*item) for item in self._remainders())
        tables = (plain_table(_CHECKS, map(_row, self.checked.checks)), plain_table(_REMAINDERS, remainders))
        return "\n\n".join([facts, *tables])

    def screen(self, _width: int) -> RenderableType:
        """Return the same with a bar for each remainder, on a logarithmic scale."""
        title = Text(f"{self.model}: version {self.checked.version}, seed {self.checked.seed}", style="bold")
        checks = screen_table(_CHECKS, map(_row, self.checked.checks), numbers=("measured", "threshold"))
        failed = sum(not check.passed for check in self.checked.checks)
        outcome = Text(f"{failed} of {len(self.checked.checks)} checks failed" if failed else "all checks passed")
        outcome.stylize("bold red" if failed else "bold green")
        return Group(title, checks, *self._plot(), outcome)

    def _plot(self) -> Sequence[RenderableType]:
        remainders = self._remainders()
        if not remainders:
            return []
        table = screen_table(_REMAINDERS, [], numbers=("step", "remainder"))
        table.add_column("the same on a logarithmic scale")
        decades = [_decades(taylor.remainder) for _, taylor in remainders]
        for item, length in zip(remainders, decades, strict=True):
            table.add_row(*_cells(*item), Bar(1, 0, length / max(decades), width=_BAR_COLUMNS))
        note = "a step 10 times smaller leaves 100 times less if the gradient is right, 10 times less if it is wrong"
        return [table, Text(note, style="dim")]

    def _remainders(self) -> list[tuple[str, gradserve.TaylorRemainder]]:
        return [(check.wrt, taylor) for check in self.checked.checks for taylor in check.remainders]


def _row(check: gradserve.GradientCheck) -> tuple[str, ...]:
    if check.skipped_reason:
        return (check.name, check.wrt, "", "", f"left out: {check.skipped_reason}")
    bound = "at least" if check.name == "taylor" else "at most"
    passed = "yes" if check.passed else "no"
    return (check.name, check.wrt, f"{check.value:.3g}", f"{bound} {check.threshold:g}", passed)


def _cells(wrt: str, taylor: gradserve.TaylorRemainder) -> tuple[str, str, str]:
    return (wrt, f"{taylor.step:.3g}", f"{taylor.remainder:.3g}")


def _decades(remainder: float) -> float:
    """Return how many decades a remainder lies above what rounds to nothing; one at least, so that it is seen."""
    return max(1.0, math.log10(max(remainder, _NOTHING) / _NOTHING)) if math.isfinite(remainder) else 1.0


def _finite(value: Any) -> Any:  # noqa: ANN401 - a document of any shape
    match value:
        case dict():
            return {name: _finite(item) for name, item in value.items()}
        case tuple() | list():
            return [_finite(item) for item in value]
        case float() if not math.isfinite(value):
            return None
        case _:
            return value
