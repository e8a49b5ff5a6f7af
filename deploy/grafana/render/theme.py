"""Colours and sizes: those of Grafana's dark theme, so that the picture looks as the board does."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle

BACKGROUND = "#111217"
CARD = "#181b1f"
EDGE = "#2a2d33"
GRID = "#2c3036"
TEXT = "#d5d6dd"
FAINT = "#8e919a"
ALERT = "#f2495c"

COLUMNS = 24
"""Of Grafana's grid."""

DPI = 100
COLUMN_PIXELS = 68
ROW_PIXELS = 30
GAP_PIXELS = 8

_NAMED = {"green": "#73bf69", "yellow": "#fade2a", "orange": "#ff9830", "red": "#f2495c", "blue": "#5794f2"}
_SERIES = ("#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#b877d9", "#5794f2", "#f2495c", "#ffb357", "#37872d", "#ca95e5")


def colour_of(name: str) -> str | None:
    """What matplotlib calls a colour of Grafana's; None for what is not drawn."""
    return None if name == "transparent" else _NAMED.get(name, name)


def series_colours(names: list[str], own: Mapping[str, str]) -> list[str]:
    """A colour for each series: its own, or the next of the palette."""
    palette = cycle(_SERIES)
    return [(colour_of(own[name]) if name in own else None) or next(palette) for name in names]
