"""What a server's Prometheus metrics say at one moment."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

_SECONDS = 60
_POLL_SECONDS = 0.01
_SETTLE_SECONDS = 10


@dataclass(frozen=True)
class Scrape:
    """The samples of one scrape.

    Attributes:
        samples: Of each series its name, its labels and its value.
    """

    samples: Sequence[tuple[str, Mapping[str, str], float]]

    @staticmethod
    def of(address: str) -> Scrape:
        """Scrape an address, "HOST:PORT"."""
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=_SECONDS) as reply:
            families = text_string_to_metric_families(reply.read().decode())
        return Scrape([(item.name, item.labels, item.value) for family in families for item in family.samples])

    def sum(self, name: str, **labels: str) -> int:
        """Add up the series of that name that have these labels."""
        found = (value for series, own, value in self.samples if series == name and labels.items() <= own.items())
        return int(sum(found))


def settled(read: Callable[[], int], expected: int) -> int:
    """Read a figure until it is as expected, for some seconds at most: a reply may overtake the count of it."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    while (value := read()) != expected and time.monotonic() < deadline:
        threading.Event().wait(_POLL_SECONDS)
    return value
