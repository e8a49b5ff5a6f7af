"""What a running server's metrics say, read as Prometheus reads them."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Self, TypeAlias

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

SECONDS = 20


Series: TypeAlias = tuple[str, frozenset[tuple[str, str]]]
"""A name and labels."""


@dataclass(frozen=True)
class Scrape:
    """The values of a page of metrics; or, as the difference of two, what has come to them."""

    values: Mapping[Series, float]

    @classmethod
    def of(cls, families: Iterable[Metric]) -> Self:
        """The values of some families."""
        samples = [sample for family in families for sample in family.samples]
        values = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
        assert len(values) == len(samples), "no series is there twice"
        return cls(values)

    def __sub__(self, earlier: Self) -> Self:
        return type(self)({series: value - earlier.values.get(series, 0) for series, value in self.values.items()})

    def value(self, name: str, **labels: str) -> float | None:
        """The value of one series; None if there is none."""
        return self.values.get((name, frozenset(labels.items())))

    def label_values(self, label: str) -> set[str]:
        """Every value that a label has anywhere."""
        return {value for _, labels in self.values for key, value in labels if key == label}

    def by(self, label: str, name: str, **labels: str) -> dict[str, float]:
        """The values of the series with these labels, but for those that are 0, by one more label."""
        return {
            dict(pairs)[label]: value
            for (series, pairs), value in self.values.items()
            if series == name and labels.items() <= dict(pairs).items() and value
        }


def page(http: str, path: str = "/metrics", **headers: str) -> tuple[str, str]:
    """What a path answers: its body, and its content type."""
    request = urllib.request.Request(f"{http}{path}", headers=headers)  # noqa: S310 - an address of the test's own
    with urllib.request.urlopen(request, timeout=SECONDS) as reply:  # noqa: S310
        return reply.read().decode(), reply.headers["content-type"]


def scrape(http: str) -> Scrape:
    """The metrics of a server."""
    return Scrape.of(text_string_to_metric_families(page(http)[0]))


def scrape_until(http: str, condition: Callable[[Scrape], bool]) -> Scrape:
    """Scrape until something is so: a server may hear of the end of a call after the caller."""
    for _ in range(SECONDS * 20):
        if condition(found := scrape(http)):
            return found
        threading.Event().wait(0.05)
    raise AssertionError(f"it did not come to that: {found.values}")
