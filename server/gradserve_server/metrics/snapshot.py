"""All numbers of one moment, as Prometheus's families."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from gradserve_server.facts import RpcMethod
from gradserve_server.metrics.gauges import gauge_families
from gradserve_server.metrics.pauses import Unhurried
from gradserve_server.metrics.readings import Reading
from gradserve_server.metrics.requests import ModelSeries, request_families
from gradserve_server.metrics.rpcs import RpcSeries, rpc_families
from gradserve_server.metrics.state import StateSeries, state_families


@dataclass(frozen=True)
class Snapshot(Collector):
    """The numbers of one moment; nobody changes them any more, so any thread may write them out.

    Attributes:
        rpcs: Of each method.
        states: Of each method that moves or keeps weights.
        models: Of each model that was asked for something.
        in_flight: Requests in flight, by operation.
        reading: What was read off the server.
    """

    rpcs: Mapping[RpcMethod, RpcSeries]
    states: Mapping[RpcMethod, StateSeries]
    models: Mapping[str, ModelSeries]
    in_flight: Mapping[str, int]
    reading: Reading

    def collect(self) -> Iterator[Metric]:
        """Every family, those of the process and of Python included, not to be gone through faster than others bear."""
        for family in self._families():
            family.samples = Unhurried(family.samples)
            yield family

    def _families(self) -> Iterator[Metric]:
        yield from rpc_families(self.rpcs)
        yield from gauge_families(self.reading, self.in_flight)
        yield from request_families(self.models)
        yield from state_families(self.states)
        for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
            yield from collector.collect()
