"""A server's metrics as they are at one moment."""

from __future__ import annotations

import re
import time
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Labels", "Scrape", "ScrapeError", "scrape"]

Labels: TypeAlias = frozenset[tuple[str, str]]

_SAMPLE: Final = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPE: Final = re.compile(r"\\(.)")


class ScrapeError(Exception):
    """The metrics could not be read."""


@dataclass(frozen=True)
class Scrape:
    """All samples of one page.

    Attributes:
        time: When it was read, in seconds of a clock that never goes back.
        series: By the metric's name, each series' value by its labels.
    """

    time: float
    series: Mapping[str, Mapping[Labels, float]]

    def of(self, name: str, **labels: str) -> dict[Labels, float]:
        """Return the series of a metric that have these labels."""
        wanted = labels.items()
        return {own: value for own, value in self.series.get(name, {}).items() if wanted <= own}

    def sum(self, name: str, **labels: str) -> float:
        """Return the sum of these series; 0 if there are none."""
        return sum(self.of(name, **labels).values())

    def values(self, name: str, label: str) -> set[str]:
        """Return every value of a label that a metric has."""
        return {value for own in self.series.get(name, {}) for key, value in own if key == label}


def scrape(address: str, timeout: float) -> Scrape:
    """Read the metrics of a server.

    Args:
        address: "HOST:PORT" of its metrics.
        timeout: In seconds.

    Raises:
        ScrapeError: Nobody answers there, or not with metrics.
    """
    try:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=timeout) as reply:
            page = reply.read().decode()
    except (HTTPException, ValueError) as error:
        raise ScrapeError(f"what answers on {address} does not speak HTTP") from error
    except OSError as error:
        raise ScrapeError(f"no metrics from http://{address}/metrics: {getattr(error, 'reason', error)}") from error
    series: dict[str, dict[Labels, float]] = {}
    for name, labels, value in _samples(page):
        series.setdefault(name, {})[labels] = value
    if "gradserve_build_info" not in series:
        raise ScrapeError(f"what answers on http://{address}/metrics is not a Gradserve server")
    return Scrape(time.monotonic(), series)


def _samples(page: str) -> Iterator[tuple[str, Labels, float]]:
    """Read the text format: https://prometheus.io/docs/instrumenting/exposition_formats."""
    for line in page.splitlines():
        if not line.startswith("#") and (sample := _SAMPLE.match(line)):
            labels = _LABEL.findall(sample["labels"] or "")
            yield sample["name"], frozenset((key, _unescaped(value)) for key, value in labels), float(sample["value"])


def _unescaped(value: str) -> str:
    return _ESCAPE.sub(lambda found: "\n" if found[1] == "n" else found[1], value)
