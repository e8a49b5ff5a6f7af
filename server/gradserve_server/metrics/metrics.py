"""Where every fact is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from gradserve_server.facts import BatchFact, ChangeFact, RequestFact, RpcFact, RpcMethod
from gradserve_server.metrics.readings import Reading
from gradserve_server.metrics.requests import ModelSeries, OperationSeries
from gradserve_server.metrics.rpcs import RpcSeries
from gradserve_server.metrics.snapshot import Snapshot
from gradserve_server.metrics.state import StateSeries, is_state_operation

_REJECTED = frozenset({"rejected", "deadline"})
_COUNTED_TOGETHER = 256


class Metrics:
    """Counts what it is told: the server's Instruments. Belongs to the event loop's thread.

    Labels are bounded: methods are those that are served, models those of the registry, all other values are the
    server's own words. What was counted of a model goes with it.

    What ends is put down first and counted later, many at a time: a step that is taken once in a call finds nothing of
    what it needs in the processor's caches, and takes several times as long as the second one right behind it.
    """

    def __init__(self) -> None:
        self._ended: list[RpcFact | RequestFact | BatchFact] = []
        self._rpcs: dict[RpcMethod, RpcSeries] = {}
        self._states: dict[RpcMethod, StateSeries] = {}
        self._models: dict[str, ModelSeries] = {}
        self._in_flight: Counter[str] = Counter()

    def rpc_served(self, method: RpcMethod) -> None:
        """As Instruments."""
        self._rpcs[method] = RpcSeries()
        if is_state_operation(method):
            self._states[method] = StateSeries()

    def rpc_started(self, method: RpcMethod) -> None:
        """As Instruments."""
        self._rpcs[method].started += 1

    def rpc_received(self, method: RpcMethod) -> None:
        """As Instruments."""
        self._rpcs[method].received += 1

    def rpc_sent(self, method: RpcMethod) -> None:
        """As Instruments."""
        self._rpcs[method].sent += 1

    def rpc_handled(self, fact: RpcFact) -> None:
        """As Instruments."""
        self._put_down(fact)

    def model_created(self, name: str) -> None:
        """As Instruments."""
        self._count()
        self._models[name] = ModelSeries()

    def model_deleted(self, name: str) -> None:
        """As Instruments."""
        self._count()
        del self._models[name]

    def model_changed(self, fact: ChangeFact) -> None:
        """As Instruments; versions are read off the models."""

    def request_started(self, operation: str) -> None:
        """As Instruments."""
        self._in_flight[operation] += 1

    def request_finished(self, fact: RequestFact) -> None:
        """As Instruments."""
        self._put_down(fact)

    def batch_computed(self, fact: BatchFact) -> None:
        """As Instruments."""
        self._put_down(fact)

    def operations(self, model: str) -> Mapping[str, OperationSeries]:
        """What is counted of a model, by operation; nothing if it has none."""
        self._count()
        return self._models[model].operations if model in self._models else {}

    def snapshot(self, reading: Reading) -> Snapshot:
        """All numbers as they are now, beside what was read off the server at the same time."""
        self._count()
        return Snapshot(
            rpcs={method: series.copy() for method, series in self._rpcs.items()},
            states={method: series.copy() for method, series in self._states.items()},
            models={name: series.copy() for name, series in self._models.items()},
            in_flight=dict(self._in_flight),
            reading=reading,
        )

    def _put_down(self, fact: RpcFact | RequestFact | BatchFact) -> None:
        self._ended.append(fact)
        if len(self._ended) == _COUNTED_TOGETHER:
            self._count()

    def _count(self) -> None:
        for fact in self._ended:
            if isinstance(fact, RpcFact):
                self._count_rpc(fact)
            elif isinstance(fact, RequestFact):
                self._count_request(fact)
            elif (model := self._models.get(fact.model)) is not None:
                model.operation(fact.operation).count_batch(fact)
        self._ended.clear()

    def _count_rpc(self, fact: RpcFact) -> None:
        series = self._rpcs[fact.method]
        series.handled[fact.code] += 1
        series.seconds.observe(fact.seconds)
        if (state := self._states.get(fact.method)) is not None:
            state.count(fact)

    def _count_request(self, fact: RequestFact) -> None:
        self._in_flight[fact.operation] -= 1
        # The model may have gone before the last request to it has ended.
        if (model := self._models.get(fact.model)) is not None:
            model.operation(fact.operation).count_request(fact)
            if fact.outcome in _REJECTED and fact.reason:
                model.rejected[fact.reason] += 1
