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


@dataclass(frozen=True)
class Reached:
    """What was measured.

    Attributes:
        figure: What was to be.
        ours: Gradserve's value of each round.
        theirs: The yardstick's.
    """

    figure: Figure
    ours: Sequence[float]
    theirs: Sequence[float]

    @property
    def ratios(self) -> list[float]:
        """That of each round: both were measured within seconds of each other."""
        return [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)]

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
    values: dict[int, list[tuple[float, float]]] = {index: [] for index in range(len(figures))}
    done = 0
    # The first round warms up.
    for number in range(max(rounds, *(figure.rounds for figure in figures)) + 1):
        for index, figure in enumerate(figures):
            if number > max(rounds, figure.rounds):
                continue
            told(f"round {number}: {figure.name}, {figure.load}", done)
            pair = _pair(figure, seconds, ours_first=bool(number % 2))
            values[index] += [pair] if number else []
            done += 1
    return [
        Reached(figure, [ours for ours, _ in values[index]], [theirs for _, theirs in values[index]])
        for index, figure in enumerate(figures)
    ]


def _pair(figure: Figure, seconds: float, *, ours_first: bool) -> tuple[float, float]:
    """Measure both; who comes first changes from round to round."""
    if ours_first:
        ours = figure.ours(seconds)
        return ours, figure.theirs(seconds)
    theirs = figure.theirs(seconds)
    return figure.ours(seconds), theirs
