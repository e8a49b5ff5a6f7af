"""Panels of lines over time, with what they are called and their means and maxima below."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, DateFormatter
from matplotlib.ticker import FuncFormatter, MaxNLocator

from deploy.grafana.render import theme
from deploy.grafana.render.card import Card
from deploy.grafana.render.dashboard import Panel
from deploy.grafana.render.lines import Line, Values
from deploy.grafana.render.units import told

LEFT_PIXELS = 84
_ENTRY_PIXELS = (250, 17)
_MOST_ENTRY_ROWS = 4
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
    columns = max(1, int((card.width - 24) // _ENTRY_PIXELS[0]))
    rows = min(math.ceil(len(lines) / columns), _MOST_ENTRY_ROWS)
    axes = card.axes(panel.title, left=LEFT_PIXELS, bottom=34 + rows * _ENTRY_PIXELS[1])
    colours = theme.series_colours([line.name for line in lines], panel.colours)
    _plot(axes, panel, lines, times, colours)
    _thresholds(axes, panel)
    for mark in marks:
        axes.axvline(mark, color=theme.ALERT, linewidth=0.8, linestyle=(0, (2, 3)))
    label_axes(axes, times, panel.unit)
    _legend(card, panel, lines, colours, columns)


def label_axes(axes: Axes, times: Values, unit: str) -> None:
    """Times below, values with their unit at the left, and a faint grid."""
    axes.set_xlim(times[0], times[-1])
    locator = AutoDateLocator(minticks=3, maxticks=7)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    # Below some minutes the seconds of a time matter.
    form = "%H:%M:%S" if times[-1] - times[0] < _SHORT_DAYS else "%H:%M"
    axes.xaxis.set_major_formatter(DateFormatter(form))  # type: ignore[no-untyped-call]
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _position: told(value, unit)))
    axes.grid(color=theme.GRID, linewidth=0.6)
    axes.set_axisbelow(True)


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


def _legend(card: Card, panel: Panel, lines: Sequence[Line], colours: Sequence[str], columns: int) -> None:
    room = columns * _MOST_ENTRY_ROWS
    shown = lines if len(lines) <= room else lines[: room - 1]
    wide, high = _ENTRY_PIXELS
    top = card.height - 8 - high * min(math.ceil(len(lines) / columns), _MOST_ENTRY_ROWS)
    for index, (line, colour) in enumerate(zip(shown, colours, strict=False)):
        x, y = 12 + wide * (index % columns), top + high * (index // columns + 0.5)
        card.text(x, y, "━", size=8, colour=colour)
        card.text(x + 16, y, _entry(panel, line), size=8, colour=theme.TEXT)
    if len(shown) < len(lines):
        x, y = 12 + wide * (len(shown) % columns), top + high * (len(shown) // columns + 0.5)
        card.text(x + 16, y, f"and {len(lines) - len(shown)} more", size=8, colour=theme.FAINT)


def _entry(panel: Panel, line: Line) -> str:
    names = panel.options["legend"]["calcs"]
    values = [f"{name.removesuffix('NotNull')} {told(_CALCULATIONS[name](line), panel.unit)}" for name in names]
    return f"{line.name}   {'  '.join(values)}"
