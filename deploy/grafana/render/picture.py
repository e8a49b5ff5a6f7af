"""A dashboard as a picture, in the layout that Grafana gives it."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from deploy.grafana.render import theme
from deploy.grafana.render.card import Card
from deploy.grafana.render.dashboard import Box, Dashboard, Panel
from deploy.grafana.render.heatmap import draw_heatmap
from deploy.grafana.render.lines import Line, Source, Values
from deploy.grafana.render.prometheus import Prometheus, Window
from deploy.grafana.render.stat import draw_number
from deploy.grafana.render.timeseries import draw_lines

_HEADER_PIXELS = 56
_POINTS = 240
# matplotlib counts dates in days since 1970.
_DAY = 86400


@dataclass(frozen=True)
class Picture:
    """A dashboard that is drawn.

    Attributes:
        figure: The drawing.
        empty: The titles of the panels that had nothing to show.
    """

    figure: Figure
    empty: tuple[str, ...]

    def save(self, path: Path) -> None:
        """Write a PNG of 256 colours.

        Raises:
            OSError: The file cannot be written.
        """
        drawn = io.BytesIO()
        self.figure.savefig(drawn, format="png", facecolor=theme.BACKGROUND)
        Image.open(drawn).convert("RGB").quantize(256).save(path, format="PNG", optimize=True)


def size_of(panels: Sequence[Panel]) -> tuple[int, int]:
    """The width and the height of the picture of some panels, in pixels."""
    rows = max(panel.box.y + panel.box.h for panel in panels)
    return (
        theme.COLUMNS * theme.COLUMN_PIXELS + theme.GAP_PIXELS,
        rows * theme.ROW_PIXELS + _HEADER_PIXELS + theme.GAP_PIXELS,
    )


def draw_last(seconds: float, prometheus: Prometheus, dashboard: Dashboard) -> Picture:
    """Draw what a dashboard shows of the last seconds.

    Raises:
        OSError: Prometheus cannot be reached, or refuses a query.
    """
    interval, now = prometheus.scrape_interval(), time.time()
    window = Window(now - seconds, now, max(interval, seconds / _POINTS))
    return draw(Source(prometheus, dashboard, window, interval))


def draw(source: Source) -> Picture:
    """Draw the dashboard of a source.

    Raises:
        OSError: Prometheus cannot be reached, or refuses a query.
    """
    board = source.dashboard
    width, height = size_of(board.panels)
    figure = Figure(figsize=(width / theme.DPI, height / theme.DPI), dpi=theme.DPI)
    _header(Card(figure, 0, 0, width, _HEADER_PIXELS), source)
    dates = source.window.times() / _DAY
    marks = [mark / _DAY for mark in source.marks()]
    empty = []
    for panel in board.panels:
        card = _card(figure, panel.box)
        if panel.kind == "row":
            card.text(4, card.height / 2, f"⌄  {panel.title}", size=11, weight="bold")
            continue
        card.frame(panel.title)
        lines = source.lines(panel)
        if lines:
            _draw_panel(card, panel, lines, dates, marks)
        else:
            card.text(card.width / 2, card.height / 2, panel.empty, size=11, colour=theme.FAINT, align="center")
            empty.append(panel.title)
    return Picture(figure, tuple(empty))


def _draw_panel(card: Card, panel: Panel, lines: Sequence[Line], dates: Values, marks: Sequence[float]) -> None:
    match panel.kind:
        case "timeseries":
            draw_lines(card, panel, lines, dates, marks)
        case "heatmap":
            draw_heatmap(card, panel, lines, dates)
        case "stat":
            draw_number(card, panel, lines[0], dates)
        case kind:
            raise ValueError(f"{panel.title}: panels of the kind {kind!r} are not drawn")


def _header(card: Card, source: Source) -> None:
    board, window = source.dashboard, source.window
    chosen = "     ".join(f"{label}: all" for label in board.labels)
    begin, end = (datetime.fromtimestamp(seconds, tz=UTC) for seconds in (window.start, window.end))
    card.text(14, 30, board.title, size=16, weight="bold")
    card.text(150, 31, chosen, size=9.5, colour=theme.FAINT)
    card.text(
        card.width - 14, 31, f"{begin:%Y-%m-%d %H:%M} to {end:%H:%M} UTC", size=9.5, colour=theme.FAINT, align="right"
    )


def _card(figure: Figure, box: Box) -> Card:
    gap, column, row = theme.GAP_PIXELS, theme.COLUMN_PIXELS, theme.ROW_PIXELS
    return Card(figure, gap + box.x * column, _HEADER_PIXELS + box.y * row, box.w * column - gap, box.h * row - gap)
