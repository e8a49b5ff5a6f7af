"""What is counted of the requests to each model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import get_args

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from gradserve_server.facts import BatchFact, Outcome, ReleaseReason, RequestFact
from gradserve_server.metrics.histogram import COMPUTE_SECONDS, ROWS, Histogram
from gradserve_server.metrics.pauses import unhurried

_LABELS = ("model", "operation")


def _seconds() -> Histogram:
    return Histogram(COMPUTE_SECONDS)


@dataclass(slots=True)
class OperationSeries:
    """The numbers of one operation of one model; every outcome and every reason is there from the start.

    Those that Prometheus has in another form, or not at all: the seconds of requests by their outcomes, those of the
    batches that each request was computed in, and when the last one ended, by `time.perf_counter`.
    """

    outcomes: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(get_args(Outcome), 0))
    outcome_seconds: dict[Outcome, float] = field(default_factory=lambda: dict.fromkeys(get_args(Outcome), 0.0))
    batch_seconds: float = 0.0
    last_ended: float = 0.0
    rows: int = 0
    nonfinite: int = 0
    request_seconds: Histogram = field(default_factory=_seconds)
    queue_seconds: Histogram = field(default_factory=_seconds)
    compute_seconds: Histogram = field(default_factory=_seconds)
    batch_rows: Histogram = field(default_factory=lambda: Histogram(ROWS))
    batches: dict[ReleaseReason, int] = field(default_factory=lambda: dict.fromkeys(get_args(ReleaseReason), 0))

    def count_request(self, fact: RequestFact) -> None:
        """Count a request that has ended."""
        self.outcomes[fact.outcome] += 1
        self.outcome_seconds[fact.outcome] += fact.seconds
        self.last_ended = fact.ended
        self.request_seconds.observe(fact.seconds)
        self.rows += fact.rows
        if fact.queue_seconds is not None:
            self.queue_seconds.observe(fact.queue_seconds)
        if fact.batch is not None:
            self.batch_seconds += fact.batch.seconds
        if not fact.finite:
            self.nonfinite += 1

    def count_batch(self, fact: BatchFact) -> None:
        """Count a batch that was computed."""
        self.batches[fact.reason] += 1
        self.batch_rows.observe(fact.rows)
        self.compute_seconds.observe(fact.seconds)

    def copy(self) -> OperationSeries:
        """The numbers as they are now."""
        return replace(
            self,
            outcomes=self.outcomes.copy(),
            outcome_seconds=self.outcome_seconds.copy(),
            request_seconds=self.request_seconds.copy(),
            queue_seconds=self.queue_seconds.copy(),
            compute_seconds=self.compute_seconds.copy(),
            batch_rows=self.batch_rows.copy(),
            batches=self.batches.copy(),
        )


@dataclass(slots=True)
class ModelSeries:
    """The numbers of one model: of each operation that it was asked for, and of refusals by reason."""

    operations: dict[str, OperationSeries] = field(default_factory=dict)
    rejected: Counter[str] = field(default_factory=Counter)

    def operation(self, name: str) -> OperationSeries:
        """The numbers of an operation."""
        if (series := self.operations.get(name)) is None:
            series = self.operations[name] = OperationSeries()
        return series

    def copy(self) -> ModelSeries:
        """The numbers as they are now."""
        return ModelSeries({name: series.copy() for name, series in self.operations.items()}, self.rejected.copy())


def request_families(models: Mapping[str, ModelSeries]) -> Iterator[Metric]:
    """The families of all models."""
    yield from _counters(models)
    yield from _histograms(models)
    rejected = CounterMetricFamily(
        "gradserve_rejected", "Requests refused for a limit or as too late, by reason.", labels=("model", "reason")
    )
    for model, series in models.items():
        for reason, count in series.rejected.items():
            rejected.add_metric((model, reason.lower()), count)
    yield rejected


def _counters(models: Mapping[str, ModelSeries]) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "gradserve_requests", "Requests to models, by how they ended.", labels=(*_LABELS, "outcome")
    )
    rows = CounterMetricFamily("gradserve_rows", "Rows computed.", labels=_LABELS)
    nonfinite = CounterMetricFamily(
        "gradserve_nonfinite_outputs", "Replies that held a NaN or an infinity.", labels=_LABELS
    )
    batches = CounterMetricFamily(
        "gradserve_batches", "Batches computed, by why they were released.", labels=(*_LABELS, "reason")
    )
    for labels, series in _each(models):
        rows.add_metric(labels, series.rows)
        nonfinite.add_metric(labels, series.nonfinite)
        for outcome, count in series.outcomes.items():
            requests.add_metric((*labels, outcome), count)
        for reason, count in series.batches.items():
            batches.add_metric((*labels, reason), count)
    yield from (requests, rows, nonfinite, batches)


def _histograms(models: Mapping[str, ModelSeries]) -> Iterator[Metric]:
    request = HistogramMetricFamily(
        "gradserve_request_duration_seconds", "From a request's arrival to its reply or refusal.", labels=_LABELS
    )
    queue = HistogramMetricFamily(
        "gradserve_queue_duration_seconds", "How long requests waited to be computed.", labels=_LABELS
    )
    compute = HistogramMetricFamily(
        "gradserve_compute_duration_seconds", "How long batches were computed.", labels=_LABELS
    )
    rows = HistogramMetricFamily("gradserve_batch_rows", "Rows of batches.", labels=_LABELS)
    for labels, series in _each(models):
        request.add_metric(labels, series.request_seconds.buckets(), series.request_seconds.sum)
        queue.add_metric(labels, series.queue_seconds.buckets(), series.queue_seconds.sum)
        compute.add_metric(labels, series.compute_seconds.buckets(), series.compute_seconds.sum)
        rows.add_metric(labels, series.batch_rows.buckets(), series.batch_rows.sum)
    yield from (request, queue, compute, rows)


def _each(models: Mapping[str, ModelSeries]) -> Iterator[tuple[tuple[str, str], OperationSeries]]:
    for model, series in unhurried(models.items()):
        for operation, numbers in series.operations.items():
            yield (model, operation), numbers
