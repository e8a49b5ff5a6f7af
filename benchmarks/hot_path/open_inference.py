"""ModelInfer of the Open Inference Protocol beside Forward, which it is a translation of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.calls import forward, model_infer
from benchmarks.h2load import Concurrency
from benchmarks.hot_path.figure import Figure
from benchmarks.hot_path.servers import Servers
from benchmarks.nets import B, S
from benchmarks.subject import Throughput, gradserve_subject

SECTION = "open_inference"

_MANY = Concurrency(8, 8)
_TARGET = 0.9


@contextmanager
def figures(servers: Servers) -> Iterator[list[Figure]]:
    """Give the figures; they need no more than the servers."""
    yield [
        Figure(
            section=SECTION,
            name=f"ModelInfer {net.name.upper()}",
            yardstick="Forward",
            load="8x8",
            target=_TARGET,
            ours=Throughput(gradserve_subject(servers.gradserve, model_infer(net)), _MANY),
            theirs=Throughput(gradserve_subject(servers.gradserve, forward(net)), _MANY),
        )
        for net in (S, B)
    ]
