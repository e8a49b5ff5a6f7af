"""Panels of one number, in the colour of the highest threshold that it has reached."""

from __future__ import annotations

import numpy as np

from deploy.grafana.render import theme
from deploy.grafana.render.card import Card
from deploy.grafana.render.dashboard import Panel
from deploy.grafana.render.lines import Line, Values
from deploy.grafana.render.units import told


def draw_number(card: Card, panel: Panel, line: Line, times: Values) -> None:
    """Draw a panel.

    Args:
        card: Where.
        panel: What it is.
        line: Its series.
        times: The window's points as matplotlib's dates, [points].
    """
    value = line.last()
    colour = next(name for bound, name in reversed(panel.thresholds) if value >= bound)
    shade = theme.colour_of(colour) or theme.TEXT
    axes = card.axes(panel.title, left=16, bottom=8)
    axes.set_axis_off()
    if panel.options["graphMode"] == "area" and len(line.values) == len(times):
        axes.set_xlim(times[0], times[-1])
        axes.plot(times, line.values, color=shade, linewidth=1.2, alpha=0.7)
        axes.fill_between(times, 0, line.values, color=shade, alpha=0.12, linewidth=0)
        axes.set_ylim(0, 2.2 * max(np.nanmax(line.values), 1e-9))
    card.text(
        card.width / 2,
        card.height * 0.56,
        told(value, panel.unit, panel.decimals),
        size=24,
        colour=shade,
        weight="bold",
        align="center",
    )
