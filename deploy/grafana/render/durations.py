"""Times as Prometheus and Grafana write them."""

from __future__ import annotations

import re

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"(\d+)(ms|[smhdw])")


def seconds_of(text: str) -> float:
    """The seconds of a duration such as "15m" or "1m30s".

    Raises:
        ValueError: It is none.
    """
    if not re.fullmatch(rf"(?:{_PART.pattern})+", text):
        raise ValueError(f"{text!r} is no duration such as 15m or 1m30s")
    return sum(int(count) * _SECONDS[unit] for count, unit in _PART.findall(text))


def duration_of(seconds: float) -> str:
    """A duration of so many seconds, to the millisecond."""
    milliseconds = round(seconds * 1000)
    return f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"
