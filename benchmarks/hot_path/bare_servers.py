"""The bare servers of one net, for figures that they stand beside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.calls import Call
from benchmarks.h2load import Concurrency
from benchmarks.nets import Net
from benchmarks.processes import running
from benchmarks.subject import Throughput, bare_subject


@dataclass(frozen=True)
class BareServers:
    """Both, running.

    Attributes:
        together: Where the one listens that computes together what is just arriving.
        at_once: Where the one listens that computes each request where it arrives.
    """

    together: str
    at_once: str

    def throughput(self, call: Call, concurrency: Concurrency) -> Throughput:
        """What the one reaches that is better for so many callers."""
        target = self.at_once if concurrency.in_flight == 1 else self.together
        return Throughput(bare_subject(target, call), concurrency)


@contextmanager
def bare_servers(net: Net) -> Iterator[BareServers]:
    """Run both until the block ends."""
    with running("benchmarks.bare", net.name) as together, running("benchmarks.bare", net.name, "--at-once") as at_once:
        yield BareServers(together.target, at_once.target)
