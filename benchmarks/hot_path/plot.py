"""The figures as a picture: each ratio beside its target."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from benchmarks.hot_path.figure import Reached
from benchmarks.hot_path.report import Report, told_target

# Two of Okabe and Ito's colours, which people with any kind of colour vision can tell apart; the shapes differ too.
_MET = ("#0072B2", "o")
_MISSED = ("#D55E00", "X")
_GREY = "#555555"
_ROW_INCHES = 0.42


def draw(report: Report, path: Path) -> None:
    """Write a picture into a file; its suffix says of which kind."""
    mpl.rcParams["svg.fonttype"] = "none"
    canvas = Canvas(figsize=(11, 1.6 + _ROW_INCHES * len(report.reached)), layout="constrained")
    axes = canvas.add_subplot()
    for row, reached in enumerate(report.reached):
        _draw_row(axes, row, reached)
    _label(axes, report)
    canvas.savefig(path, dpi=150)


def _draw_row(axes: Axes, row: int, reached: Reached) -> None:
    colour, marker = _MET if reached.met else _MISSED
    axes.plot(reached.ratios, [row] * len(reached.ratios), "|", color=_GREY, markersize=9, alpha=0.6)
    axes.plot([reached.figure.target] * 2, [row - 0.38, row + 0.38], color="black", linewidth=2.5)
    axes.plot(reached.ratio, row, marker, color=colour, markersize=10, markeredgecolor="white")
    if reached.bare_ratio is not None:
        axes.plot(reached.bare_ratio, row, "D", color="none", markeredgecolor=_GREY, markersize=8)
    text = f"{reached.ratio:.2f} ({told_target(reached.figure)})"
    axes.annotate(text, (1.01, row), xycoords=("axes fraction", "data"), va="center", color=colour)


def _label(axes: Axes, report: Report) -> None:
    rows = [f"{item.figure.name} / {item.figure.yardstick}, {item.figure.load}" for item in report.reached]
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xscale("log")
    ticks = [tick for tick in (0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32) if _is_near(tick, report)]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.grid(axis="x", color="#dddddd")
    axes.set_axisbelow(True)
    axes.set_xlabel(
        "Gradserve / yardstick: ● target met, ✖ missed, ┃ the target, ◇ a bare server, thin lines the rounds"
    )
    axes.set_title(str(report.machine), fontsize=8, color=_GREY)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _is_near(tick: float, report: Report) -> bool:
    values = [value for item in report.reached for value in (*item.ratios, item.figure.target)]
    return min(values) / 2 <= tick <= max(values) * 2
