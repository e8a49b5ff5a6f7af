"""The surface of one panel: a rectangle of the picture, measured in pixels from its upper left corner."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.transforms import IdentityTransform

from deploy.grafana.render import theme

_TITLE_PIXELS = 30


@dataclass(frozen=True)
class Card:
    """Where a panel is drawn.

    Attributes:
        figure: The whole picture.
        left: Pixels from its left edge.
        top: Pixels from its upper edge.
        width: In pixels.
        height: In pixels.
    """

    figure: Figure
    left: float
    top: float
    width: float
    height: float

    def frame(self, title: str) -> None:
        """Draw the edge and the title."""
        origin = self.left, self._up(self.height)
        edge = FancyBboxPatch(
            origin, self.width, self.height, "round,pad=0,rounding_size=4", transform=IdentityTransform()
        )
        # Behind the axes, which have 0.
        edge.set(facecolor=theme.CARD, edgecolor=theme.EDGE, zorder=-1)
        self.figure.add_artist(edge)
        self.text(12, 19, title, size=9.5, weight="bold")

    def text(  # noqa: PLR0913 - how text looks
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float,
        colour: str = theme.TEXT,
        weight: str = "normal",
        align: str = "left",
    ) -> None:
        """Write a line; y is its middle."""
        line = self.figure.text(self.left + x, self._up(y), text, transform=IdentityTransform())
        line.set(fontsize=size, color=colour, fontweight=weight, ha=align, va="center")

    def axes(self, title: str, *, left: float, bottom: float) -> Axes:
        """Axes below the title, with so much room to their left and below them for labels.

        Args:
            title: The panel's, which becomes the label by which its axes can be found.
            left: In pixels.
            bottom: In pixels.
        """
        all_wide, all_high = self.figure.get_size_inches() * theme.DPI
        width, height = self.width - left - 16, self.height - bottom - _TITLE_PIXELS - 6
        rectangle = (self.left + left) / all_wide, self._up(self.height - bottom) / all_high
        axes = self.figure.add_axes((*rectangle, width / all_wide, height / all_high), label=title)
        axes.set_facecolor(theme.CARD)
        axes.tick_params(colors=theme.FAINT, labelsize=8, length=0, pad=5)
        for side in axes.spines.values():
            side.set_visible(False)
        return axes

    def _up(self, y: float) -> float:
        """The height of a point above the picture's lower edge, as matplotlib counts."""
        return float(self.figure.get_size_inches()[1] * theme.DPI - self.top - y)
