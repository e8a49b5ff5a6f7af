"""What is counted of the calls that move or keep weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import get_args

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from gradserve_server.facts import Outcome, RpcFact, RpcMethod, outcome_of
from gradserve_server.metrics.histogram import STATE_SECONDS, Histogram

_SERVICE = "gradserve.v1.StateService"


@dataclass(slots=True)
class StateSeries:
    """The numbers of one operation; every result is there from the start."""

    results: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(get_args(Outcome), 0))
    seconds: Histogram = field(default_factory=lambda: Histogram(STATE_SECONDS))

    def count(self, fact: RpcFact) -> None:
        """Count a call that has ended."""
        self.results[outcome_of(fact.code)] += 1
        self.seconds.observe(fact.seconds)

    def copy(self) -> StateSeries:
        """The numbers as they are now."""
        return StateSeries(self.results.copy(), self.seconds.copy())


def is_state_operation(method: RpcMethod) -> bool:
    """Whether a method moves or keeps weights."""
    return method.service == _SERVICE


def state_families(states: Mapping[RpcMethod, StateSeries]) -> Iterator[Metric]:
    """The families of all operations; each is called as its RPC, in snake case."""
    operations = CounterMetricFamily(
        "gradserve_state_operations",
        "Calls that move or keep weights, by how they ended.",
        labels=("operation", "result"),
    )
    seconds = HistogramMetricFamily(
        "gradserve_state_operation_duration_seconds",
        "How long calls that move or keep weights took.",
        labels=("operation",),
    )
    for method, series in states.items():
        seconds.add_metric((method.operation,), series.seconds.buckets(), series.seconds.sum)
        for result, count in series.results.items():
            operations.add_metric((method.operation, result), count)
    yield from (operations, seconds)
