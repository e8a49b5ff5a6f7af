"""Values as people read them, by Grafana's names of units."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

_SUFFIXES: Mapping[str, str] = {"reqps": " req/s", "rowsps": " rows/s", "ops": " ops/s", "none": "", "short": ""}
# What a computation leaves of a zero is told as one.
_MOST_DECIMALS = 6
_DIGITS = 3
_SECONDS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def told(value: float, unit: str, decimals: int | None = None) -> str:
    """A value with its unit, to three digits unless the decimals are given.

    Raises:
        KeyError: The unit is none that is drawn here.
    """
    if not math.isfinite(value):
        return "-"
    return _FORMATS[unit](value, decimals)


def _number(value: float, decimals: int | None) -> str:
    if decimals is not None:
        return f"{value:.{decimals}f}"
    digits = _DIGITS - math.ceil(math.log10(abs(value))) if value else 0
    text = f"{value:.{min(max(digits, 0), _MOST_DECIMALS)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _with_suffix(suffix: str) -> Callable[[float, int | None], str]:
    def write(value: float, decimals: int | None) -> str:
        scale, letter = next(
            ((s, name) for s, name in ((1e9, "B"), (1e6, "M"), (1e3, "K")) if abs(value) >= s), (1, "")
        )
        return f"{_number(value / scale, decimals)}{letter}{suffix}"

    return write


def _seconds(value: float, decimals: int | None) -> str:
    scale, name = next(((scale, name) for scale, name in _SECONDS if abs(value) >= scale), (1e-6, "µs"))
    return f"{_number(value / scale, decimals)} {name}" if value else "0 s"


def _bytes(value: float, decimals: int | None) -> str:
    power = min(int(math.log2(abs(value)) / 10), 4) if abs(value) >= 1 else 0
    return f"{_number(value / 1024**power, decimals)} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"


def _percent(value: float, decimals: int | None) -> str:
    return f"{_number(100 * value, decimals)}%"


_FORMATS: Mapping[str, Callable[[float, int | None], str]] = {
    "s": _seconds,
    "bytes": _bytes,
    "percentunit": _percent,
    **{unit: _with_suffix(suffix) for unit, suffix in _SUFFIXES.items()},
}
