"""The latency that one call in a hundred exceeds, at half of what the server can do."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.calls import forward
from benchmarks.generator import Order
from benchmarks.hot_path.figure import Figure, Measure
from benchmarks.hot_path.servers import Servers
from benchmarks.nets import S
from gradserve.cli.load_generator.summary import Summary

SECTION = "latency"

_SATURATING = 64
_SATURATING_SECONDS = 2.0
_LOAD = 0.5
_TARGET = 2.0
_ROUNDS = 9


@contextmanager
def figures(servers: Servers) -> Iterator[list[Figure]]:
    """Give the figure: server and echo get the same calls at the same times."""
    call = forward(S)
    ours = Order(servers.gradserve.target, call.path, call.message)
    theirs = Order(servers.echo.target, servers.echo_path(call), call.message)

    @functools.cache
    def rate() -> float:
        return _LOAD * Summary.of(ours.closed(_SATURATING, _SATURATING_SECONDS).answers).ok_per_second

    yield [
        Figure(
            section=SECTION,
            name="p99 of Forward S at half of saturation",
            yardstick="echo",
            load="open loop",
            target=_TARGET,
            ours=_p99(ours, rate),
            theirs=_p99(theirs, rate),
            is_ceiling=True,
            rounds=_ROUNDS,
        )
    ]


def _p99(order: Order, rate: Callable[[], float]) -> Measure:
    """Measure seconds; each round draws its own times, and both sides draw the same."""
    seeds = itertools.count()

    def measure(seconds: float) -> float:
        summary = Summary.of(order.open(rate(), seconds, next(seeds)).answers)
        if summary.codes.keys() != {"OK"}:
            raise OSError(f"not every call was answered OK: {summary.codes}")
        return summary.latency["p99"]

    return measure
