"""Panels that show how many values fell between which bounds, over time: the brighter, the more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from deploy.grafana.render.card import Card
from deploy.grafana.render.dashboard import Panel
from deploy.grafana.render.lines import Line, Values
from deploy.grafana.render.timeseries import LEFT_PIXELS, label_axes
from deploy.grafana.render.units import told

_MOST_LABELS = 8


def draw_heatmap(card: Card, panel: Panel, lines: Sequence[Line], times: Values) -> None:
    """Draw a panel.

    Args:
        card: Where.
        panel: What it is.
        lines: Its series: Prometheus's buckets, each called as its upper bound, and counting what is in those below.
        times: The window's points as matplotlib's dates, [points].
    """
    buckets = sorted(lines, key=lambda line: float(line.name))
    bounds = [float(line.name) for line in buckets]
    counts = np.diff(np.stack([line.values for line in buckets]), axis=0, prepend=0)
    used = np.flatnonzero(np.nansum(counts, axis=1) > 0)
    rows = slice(used[0], used[-1] + 1)
    axes = card.axes(panel.title, left=LEFT_PIXELS, bottom=34)
    label_axes(axes, times, "none")
    shades = panel.options["color"]
    height = rows.stop - rows.start
    axes.pcolormesh(
        np.append(times, 2 * times[-1] - times[-2]),
        np.arange(height + 1),
        np.ma.masked_less_equal(np.nan_to_num(counts[rows]), 0),
        cmap=shades["scheme"].lower(),
        norm=PowerNorm(shades["exponent"]),
    )
    every = -(-height // _MOST_LABELS)
    labelled = range(0, height, every)
    axes.yaxis.set_major_locator(FixedLocator([row + 1.0 for row in labelled]))
    unit = panel.options["yAxis"]["unit"]
    axes.yaxis.set_major_formatter(FixedFormatter([told(bounds[rows][row], unit) for row in labelled]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(visible=False)
