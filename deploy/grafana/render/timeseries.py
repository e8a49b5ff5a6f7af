"""Panels of lines over time, with what they are called and their means and maxima below."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, DateFormatter
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

from deploy.grafana.render import theme
from deploy.grafana.render.card import Card
from deploy.grafana.render.dashboard import Panel
from deploy.grafana.render.lines import Line, Values
from deploy.grafana.render.units import told

LEFT_PIXELS = 84
_LETTER_PIXELS = 6.5
_DASH_PIXELS = 16
_LINE_PIXELS = 17
_SIDE_PIXELS = 24
_MOST_ROWS = 5
_SHORT_DAYS = 240 / 86400
_CALCULATIONS: Mapping[str, Callable[[Line], float]] = {
    "mean": lambda line: float(np.nanmean(line.values)),
    "max": lambda line: float(np.nanmax(line.values)),
    "lastNotNull": Line.last,
}


def draw_lines(card: Card, panel: Panel, lines: Sequence[Line], times: Values, marks: Sequence[float]) -> None:
    """Draw a panel.

    Args:
        card: Where.
        panel: What it is.
        lines: Its series.
        times: The window's points as matplotlib's dates, [points].
        marks: Dates to mark, because an alert began.
    """
    legend = _Legend.of(panel, lines, card.width)
    axes = card.axes(panel.title, left=LEFT_PIXELS, bottom=34 + legend.height)
    colours = theme.series_colours([line.name for line in lines], panel.colours)
    _plot(axes, panel, lines, times, colours)
    _thresholds(axes, panel)
    for mark in marks:
        axes.axvline(mark, color=theme.ALERT, linewidth=0.8, linestyle=(0, (2, 3)))
    label_axes(axes, times, panel.unit)
    legend.draw(card, colours)


def label_axes(axes: Axes, times: Values, unit: str) -> None:
    """Times below, values with their unit at the left, and a faint grid."""
    axes.set_xlim(times[0], times[-1])
    locator = AutoDateLocator(minticks=3, maxticks=7)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    # Below some minutes the seconds of a time matter.
    form = "%H:%M:%S" if times[-1] - times[0] < _SHORT_DAYS else "%H:%M"
    axes.xaxis.set_major_formatter(DateFormatter(form))  # type: ignore[no-untyped-call]
    axes.yaxis.set_major_locator(MultipleLocator(_power_of_two(axes)) if unit == "bytes" else MaxNLocator(nbins=4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _position: told(value, unit)))
    axes.grid(color=theme.GRID, linewidth=0.6)
    axes.set_axisbelow(True)


def _power_of_two(axes: Axes) -> float:
    """A step between ticks that is round in KiB, MiB and GiB, and gives two to four of them."""
    return float(2 ** math.floor(math.log2(max(axes.get_ylim()[1], 2) / 2)))


def _plot(axes: Axes, panel: Panel, lines: Sequence[Line], times: Values, colours: Sequence[str]) -> None:
    stepped = panel.style.get("lineInterpolation") == "stepAfter"
    opacity = panel.style["fillOpacity"] / 100
    below = np.zeros(len(times))
    is_stacked = "stacking" in panel.style
    for line, colour in zip(lines, colours, strict=True):
        values = below + np.nan_to_num(line.values) if is_stacked else line.values
        axes.plot(times, values, color=colour, linewidth=1.2, drawstyle="steps-post" if stepped else "default")
        axes.fill_between(
            times, below, values, color=colour, alpha=opacity, linewidth=0, step="post" if stepped else None
        )
        below = values if is_stacked else below
    axes.set_ylim(bottom=0)
    if all(np.nanmax(line.values) <= 0 for line in lines):
        axes.set_ylim(top=1)


def _thresholds(axes: Axes, panel: Panel) -> None:
    axes.autoscale(enable=False)
    for value, name in panel.thresholds:
        if (colour := theme.colour_of(name)) and math.isfinite(value):
            axes.axhline(value, color=colour, linewidth=1, linestyle=(0, (6, 4)))


@dataclass(frozen=True)
class _Legend:
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
