"""What happened between two scrapes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gradserve.cli.live.scrape import Labels, Scrape

__all__ = ["Activity", "DeviceMemory", "ModelActivity", "activity"]


@dataclass(frozen=True)
class ModelActivity:
    """One operation of one model.

    Attributes:
        model: The model's name.
        version: Of its weights.
        operation: such as "forward"; empty for a model that nobody has asked yet.
        ok_per_second: Requests that were answered.
        failed_per_second: Requests that ended otherwise.
        rows_per_second: Rows computed.
        p50_seconds: Half of the requests took no longer, from arrival to reply; None if there was none.
        p99_seconds: 99 of 100 took no longer.
        queue_seconds: How long the mean request waited to be computed.
        rows_per_batch: Rows of the mean batch.
        busy: The share of the time in which it was computed.
    """

    model: str
    version: int
    operation: str
    ok_per_second: float
    failed_per_second: float
    rows_per_second: float
    p50_seconds: float | None
    p99_seconds: float | None
    queue_seconds: float | None
    rows_per_batch: float | None
    busy: float


@dataclass(frozen=True)
class DeviceMemory:
    """The memory of one device.

    Attributes:
        device: As torch names it.
        kind: "total", "allocated" or "reserved".
        bytes: How much.
    """

    device: str
    kind: str
    bytes: int


@dataclass(frozen=True)
class Activity:
    """A server between two scrapes.

    Attributes:
        seconds: The time between them.
        version: The server's.
        cores: Processor time that it took, in cores; None where the system does not tell.
        resident_bytes: Its memory at the end; None where the system does not tell.
        in_flight: Requests that had arrived and not ended, at the end.
        waiting: Requests that waited to be computed, at the end, by model.
        models: What each model did, the busiest first.
        devices: The memory of its devices, at the end.
    """

    seconds: float
    version: str
    cores: float | None
    resident_bytes: int | None
    in_flight: int
    waiting: Mapping[str, int]
    models: Sequence[ModelActivity]
    devices: Sequence[DeviceMemory]


def activity(before: Scrape, after: Scrape) -> Activity:
    """Compare two scrapes of one server; one that was started again in between counts from 0."""
    change = _Change(before, after)
    rows = [row for model in sorted(after.values("gradserve_model_info", "model")) for row in _model(change, model)]
    waiting = after.of("gradserve_queue_requests")
    (version,) = after.values("gradserve_build_info", "version") or {""}
    has_process = "process_cpu_seconds_total" in after.series
    return Activity(
        seconds=change.seconds,
        version=version,
        cores=change.per_second("process_cpu_seconds_total") if has_process else None,
        resident_bytes=int(after.sum("process_resident_memory_bytes")) if has_process else None,
        in_flight=int(after.sum("gradserve_requests_in_flight")),
        waiting={dict(labels)["model"]: int(value) for labels, value in waiting.items()},
        models=sorted(rows, key=lambda row: -(row.ok_per_second + row.failed_per_second)),
        devices=_devices(after),
    )


def _devices(scrape: Scrape) -> list[DeviceMemory]:
    found = {
        (named["device"], named["kind"]): int(value)
        for named, value in (
            (dict(labels), value) for labels, value in scrape.of("gradserve_device_memory_bytes").items()
        )
    }
    return [DeviceMemory(device, kind, size) for (device, kind), size in sorted(found.items())]


def _model(change: _Change, model: str) -> list[ModelActivity]:
    version = int(change.after.sum("gradserve_model_version", model=model))
    requests = change.after.of("gradserve_requests_total", model=model)
    operations = sorted({dict(labels)["operation"] for labels in requests})
    return [_operation(change, model, version, operation) for operation in operations or [""]]


def _operation(change: _Change, model: str, version: int, operation: str) -> ModelActivity:
    labels = {"model": model, "operation": operation}
    ended = change.per_second("gradserve_requests_total", **labels)
    answered = change.per_second("gradserve_requests_total", **labels, outcome="ok")
    duration = change.buckets("gradserve_request_duration_seconds", **labels)
    return ModelActivity(
        model=model,
        version=version,
        operation=operation,
        ok_per_second=answered,
        failed_per_second=max(0.0, ended - answered),
        rows_per_second=change.per_second("gradserve_rows_total", **labels),
        p50_seconds=_quantile(0.5, duration),
        p99_seconds=_quantile(0.99, duration),
        queue_seconds=change.mean("gradserve_queue_duration_seconds", **labels),
        rows_per_batch=change.mean("gradserve_batch_rows", **labels),
        busy=change.per_second("gradserve_compute_duration_seconds_sum", **labels),
    )


@dataclass(frozen=True)
class _Change:
    """What counters did between two scrapes."""

    before: Scrape
    after: Scrape

    @property
    def seconds(self) -> float:
        return self.after.time - self.before.time

    def of(self, name: str, **labels: str) -> dict[Labels, float]:
        """How far each counter went; one that is lower than before began again at 0."""
        known = self.before.series.get(name, {})

        def change(own: Labels, value: float) -> float:
            before = known.get(own, 0.0)
            return value - before if value >= before else value

        return {own: change(own, value) for own, value in self.after.of(name, **labels).items()}

    def per_second(self, name: str, **labels: str) -> float:
        return sum(self.of(name, **labels).values()) / self.seconds

    def mean(self, name: str, **labels: str) -> float | None:
        """The mean of what a histogram has observed; None if that is nothing."""
        count = sum(self.of(f"{name}_count", **labels).values())
        return sum(self.of(f"{name}_sum", **labels).values()) / count if count else None

    def buckets(self, name: str, **labels: str) -> list[tuple[float, float]]:
        """Each upper bound of a histogram with the observations that do not exceed it."""
        found = self.of(f"{name}_bucket", **labels).items()
        return sorted((float(dict(own)["le"]), count) for own, count in found)


def _quantile(share: float, buckets: Sequence[tuple[float, float]]) -> float | None:
    """Estimate a quantile as Prometheus's histogram_quantile: as if values lay evenly within their bucket."""
    if not buckets or not buckets[-1][1]:
        return None
    rank = share * buckets[-1][1]
    lower, below = 0.0, 0.0
    for bound, count in buckets:
        if count >= rank:
            return lower if math.isinf(bound) else lower + (bound - lower) * (rank - below) / (count - below)
        lower, below = bound, count
    raise AssertionError("the last bucket holds all")
