"""One figure of the hot path: what Gradserve reaches over what a yardstick reaches, beside a target."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Measure: TypeAlias = Callable[[float], float]
"""Measures for about so many seconds; gives calls a second, or a latency in seconds."""


@dataclass(frozen=True)
class Figure:
    """What is to be measured.

    Attributes:
        section: Which part of the program it belongs to.
        name: What is measured.
        yardstick: What it is held against.
        load: At what concurrency, such as "8x8" for connections x streams.
        target: The ratio to reach; to stay under, if `is_ceiling`.
        ours: Measures Gradserve.
        theirs: Measures the yardstick.
        is_ceiling: Whether less is better.
        rounds: The fewest rounds that say something.
        bare: Measures what a server of Gradserve's kind that does nothing else reaches; None where there is none.
    """

    section: str
    name: str
    yardstick: str
    load: str
    target: float
    ours: Measure
    theirs: Measure
    is_ceiling: bool = False
    rounds: int = 1
    bare: Measure | None = None


@dataclass(frozen=True)
class Round:
    """The values of one round, measured within seconds of each other.

    Attributes:
        ours: Gradserve's.
        theirs: The yardstick's.
        bare: The bare server's, if there is one.
    """

    ours: float
    theirs: float
    bare: float | None = None

    @property
    def ratio(self) -> float:
        """What Gradserve reaches of the yardstick."""
        return self.ours / self.theirs


@dataclass(frozen=True)
class Reached:
    """What was measured.

    Attributes:
        figure: What was to be.
        rounds: The values of each round.
    """

    figure: Figure
    rounds: Sequence[Round]

    @property
    def ratios(self) -> list[float]:
        """That of each round."""
        return [each.ratio for each in self.rounds]

    @property
    def bare_ratio(self) -> float | None:
        """What a bare server reaches of the yardstick, the median; None where there is none."""
        ratios = [each.bare / each.theirs for each in self.rounds if each.bare is not None]
        return statistics.median(ratios) if ratios else None

    @property
    def ratio(self) -> float:
        """The median."""
        return statistics.median(self.ratios)

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        return self.ratio < self.figure.target if self.figure.is_ceiling else self.ratio >= self.figure.target


def measure(figures: Sequence[Figure], rounds: int, seconds: float, told: Callable[[str, int], None]) -> list[Reached]:
    """Measure figures in turn, round by round, so that what slows the machine down meets all alike.

    Args:
        figures: What to measure.
        rounds: How often; a figure that needs more rounds gets them.
        seconds: For each measurement.
        told: Is told what comes next, and how many measurements are behind.
    """
    values: list[list[Round]] = [[] for _ in figures]
    done = 0
    # The first round warms up.
    for number in range(max(rounds, *(figure.rounds for figure in figures)) + 1):
        for figure, found in zip(figures, values, strict=True):
            if number > max(rounds, figure.rounds):
                continue
            told(f"round {number}: {figure.name}, {figure.load}", done)
            measured = _round(figure, seconds, ours_first=bool(number % 2))
            found.extend([measured] if number else [])
            done += 1
    return [Reached(figure, found) for figure, found in zip(figures, values, strict=True)]


def _round(figure: Figure, seconds: float, *, ours_first: bool) -> Round:
    """Measure all; who comes first changes from round to round, and the bare server comes between."""
    first, last = (figure.ours, figure.theirs) if ours_first else (figure.theirs, figure.ours)
    before = first(seconds)
    bare = None if figure.bare is None else figure.bare(seconds)
    after = last(seconds)
    return Round(before, after, bare) if ours_first else Round(after, before, bare)
