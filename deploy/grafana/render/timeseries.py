"""Panels of lines over time, with what they are called and their means and maxima below."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import MINUTELY, AutoDateLocator, DateFormatter
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

from deploy.grafana.render import theme
from deploy.grafana.render.card import Card
from deploy.grafana.render.dashboard import Panel
from deploy.grafana.render.legend import Legend
from deploy.grafana.render.lines import Line, Values
from deploy.grafana.render.units import told

LEFT_PIXELS = 84
_SHORT_DAYS = 240 / 86400


def draw_lines(card: Card, panel: Panel, lines: Sequence[Line], times: Values, marks: Sequence[float]) -> None:
    """Draw a panel.

    Args:
        card: Where.
        panel: What it is.
        lines: Its series.
        times: The window's points as matplotlib's dates, [points].
        marks: Dates to mark, because an alert began.
    """
    legend = Legend.of(panel, lines, card.width)
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
    locator = AutoDateLocator(minticks=3, maxticks=6)  # type: ignore[no-untyped-call]
    locator.intervald[MINUTELY] = [1, 2, 5, 10, 15, 30]
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
