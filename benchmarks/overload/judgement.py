"""What the answers of an overload, and of the time after it, say: pure functions."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

from gradserve.cli.load_generator.answer import Answer

REFUSED = "RESOURCE_EXHAUSTED"
"""The status of what is not let in."""

EXPECTED = frozenset({"OK", REFUSED, "DEADLINE_EXCEEDED"})
"""The statuses that an overload may bring about."""

_WELL = 0.99


def ok_share(answers: Sequence[Answer]) -> float:
    """How many of them, from 0 to 1, were answered OK; NaN for none."""
    return sum(answer.code == "OK" for answer in answers) / len(answers) if answers else math.nan


def due(answers: Iterable[Answer], start: float, end: float) -> list[Answer]:
    """Those of calls that were to be sent between two times."""
    return [answer for answer in answers if start <= answer.intended < end]


def admitted_p99(answers: Iterable[Answer]) -> float:
    """The 99th percentile of the seconds from sending to the end, of all calls that were not refused.

    It includes those that ran into their deadline.
    """
    taken = sorted(answer.done - answer.sent for answer in answers if answer.code != REFUSED)
    return taken[math.ceil(0.99 * len(taken)) - 1] if taken else math.inf


def without_pushback(answers: Iterable[Answer]) -> int:
    """How many refusals do not say when to try again."""
    return sum(answer.code == REFUSED and answer.pushback is None for answer in answers)


def recovery_seconds(answers: Iterable[Answer], start: float, window: float = 1.0) -> float:
    """How long after a time it takes until, in each following window, 99 % of the calls are answered OK.

    Args:
        answers: Those of calls that were to be sent before and after.
        start: When the overload ends.
        window: Its seconds.
    """
    windows: dict[int, list[Answer]] = {}
    for answer in answers:
        if answer.intended >= start:
            windows.setdefault(int((answer.intended - start) / window), []).append(answer)
    bad = [number for number, members in windows.items() if ok_share(members) < _WELL]
    return (max(bad) + 1) * window if bad else 0.0


def growth(samples: Sequence[float]) -> float:
    """By how much a value is higher in the last quarter of its samples than in the second, by their medians.

    In the first quarter the server takes the memory that its queue needs.
    """
    quarter = max(1, len(samples) // 4)
    return statistics.median(samples[-quarter:]) - statistics.median(samples[quarter : 2 * quarter] or samples)
