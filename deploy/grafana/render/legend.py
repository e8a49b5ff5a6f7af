"""What stands below the lines of a panel: their names, with their means or maxima."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from deploy.grafana.render import theme
from deploy.grafana.render.card import Card
from deploy.grafana.render.dashboard import Panel
from deploy.grafana.render.lines import Line
from deploy.grafana.render.units import told

_LETTER_PIXELS = 6.5
_DASH_PIXELS = 16
_LINE_PIXELS = 17
_SIDE_PIXELS = 24
_MOST_ROWS = 5
_CALCULATIONS: Mapping[str, Callable[[Line], float]] = {
    "mean": lambda line: float(np.nanmean(line.values)),
    "max": lambda line: float(np.nanmax(line.values)),
    "lastNotNull": Line.last,
}


@dataclass(frozen=True)
class Legend:
    """What the lines are called, with their values, in as many columns as there is room for.

    Attributes:
        entries: The texts.
        columns: How many stand beside each other.
        rows: How many stand below each other, at most.
    """

    entries: Sequence[str]
    columns: int
    rows: int

    @classmethod
    def of(cls, panel: Panel, lines: Sequence[Line], width: float) -> Self:
        """The legend of a panel on a card of so many pixels."""
        entries = [_entry(panel, line) for line in lines]
        widest = max(map(len, entries)) * _LETTER_PIXELS + _DASH_PIXELS
        columns = max(1, int((width - _SIDE_PIXELS) // widest))
        return cls(entries, columns, min(math.ceil(len(entries) / columns), _MOST_ROWS))

    @property
    def height(self) -> float:
        """In pixels."""
        return self.rows * _LINE_PIXELS

    def draw(self, card: Card, colours: Sequence[str]) -> None:
        """Write the entries at the foot of the card; of too many the last are only counted."""
        room = self.columns * self.rows
        shown = self.entries if len(self.entries) <= room else self.entries[: room - 1]
        for index, (entry, colour) in enumerate(zip(shown, colours, strict=False)):
            x, y = self._place(card, index)
            card.text(x, y, "━", size=8, colour=colour)
            card.text(x + _DASH_PIXELS, y, entry, size=8)
        if len(shown) < len(self.entries):
            x, y = self._place(card, len(shown))
            card.text(x + _DASH_PIXELS, y, f"and {len(self.entries) - len(shown)} more", size=8, colour=theme.FAINT)

    def _place(self, card: Card, index: int) -> tuple[float, float]:
        x = _SIDE_PIXELS / 2 + (card.width - _SIDE_PIXELS) / self.columns * (index % self.columns)
        return x, card.height - 8 - self.height + _LINE_PIXELS * (index // self.columns + 0.5)


def _entry(panel: Panel, line: Line) -> str:
    names = panel.options["legend"]["calcs"]
    values = [f"{name.removesuffix('NotNull')} {told(_CALCULATIONS[name](line), panel.unit)}" for name in names]
    return f"{line.name}   {'  '.join(values)}"
