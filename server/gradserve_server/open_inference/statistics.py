"""ModelStatistics: the numbers of the Prometheus metrics, as Triton tells them."""

from __future__ import annotations

import time
from typing import Final

from gradserve_server.metrics.requests import OperationSeries
from gradserve_server.open_inference import grpc_service_pb2 as pb
from gradserve_server.open_inference.served import Served

_NANOSECONDS: Final = 1_000_000_000
_MILLISECONDS: Final = 1_000


def statistics(model: Served, series: OperationSeries) -> pb.ModelStatistics:
    """What is counted of a model, whichever protocol it was asked by."""
    answered = series.outcomes["ok"]
    failed = sum(series.outcomes.values()) - answered
    answered_seconds = series.outcome_seconds["ok"]
    failed_seconds = sum(series.outcome_seconds.values()) - answered_seconds
    computed = series.queue_seconds.count
    return pb.ModelStatistics(
        name=model.name,
        version=str(model.hosted.version),
        last_inference=_since_1970(series.last_ended),
        inference_count=series.rows,
        execution_count=series.compute_seconds.count,
        inference_stats=pb.InferStatistics(
            success=_duration(answered, answered_seconds),
            fail=_duration(failed, failed_seconds),
            queue=_duration(computed, series.queue_seconds.sum),
            compute_infer=_duration(computed, series.batch_seconds),
        ),
    )


def _duration(count: int, seconds: float) -> pb.StatisticDuration:
    return pb.StatisticDuration(count=count, ns=round(max(0.0, seconds) * _NANOSECONDS))


def _since_1970(moment: float) -> int:
    """A moment of `time.perf_counter` in milliseconds; 0 for none."""
    return round((time.time() - (time.perf_counter() - moment)) * _MILLISECONDS) if moment else 0
