"""Counting, as facts are told: what a page of metrics then says."""

import pytest

from gradserve_server.facts import BatchFact, QueueState, RequestFact, RpcFact, RpcMethod
from gradserve_server.metrics.metrics import Metrics
from gradserve_server.metrics.readings import ModelReading, Reading
from gradserve_server.metrics.snapshot import Snapshot
from tests.support.metrics import Scrape, Series

FORWARD = RpcMethod("unary", "gradserve.v1.InferenceService", "Forward")
LOAD = RpcMethod("client_stream", "gradserve.v1.StateService", "LoadStateDict")
OF_A = {"model": "a", "operation": "forward"}


@pytest.fixture
def metrics() -> Metrics:
    counting = Metrics()
    counting.model_created("a")
    for method in (FORWARD, LOAD):
        counting.rpc_served(method)
    return counting


def read(metrics: Metrics, *models: ModelReading) -> Scrape:
    return Scrape.of(metrics.snapshot(Reading(models, (), {"cuda:0": {"allocated": 5, "total": 7}})).collect())


def test_a_batch_counts_by_its_reason_with_its_rows_and_its_time(metrics: Metrics):
    metrics.batch_computed(BatchFact("a", "forward", "full", rows=3, seconds=0.0003, version=1))
    metrics.batch_computed(BatchFact("a", "forward", "idle", rows=5, seconds=0.5, version=1))
    page = read(metrics)
    reasons = ("full", "window", "idle", "drain", "single")
    assert [page.value("gradserve_batches_total", **OF_A, reason=reason) for reason in reasons] == [1, 0, 1, 0, 0]
    assert page.value("gradserve_batch_rows_sum", **OF_A) == 8
    assert [page.value("gradserve_batch_rows_bucket", **OF_A, le=le) for le in ("2.0", "4.0", "8.0")] == [0, 1, 2]
    assert page.value("gradserve_compute_duration_seconds_sum", **OF_A) == 0.5003
    assert page.value("gradserve_compute_duration_seconds_bucket", **OF_A, le="0.0005") == 1


def test_a_value_equal_to_a_bound_is_within_it(metrics: Metrics):
    metrics.rpc_handled(RpcFact(FORWARD, "OK", seconds=0.01))
    labels = {"grpc_type": "unary", "grpc_service": FORWARD.service, "grpc_method": "Forward"}
    bucket = "grpc_server_handling_seconds_bucket"
    assert [read(metrics).value(bucket, **labels, le=le) for le in ("0.005", "0.01", "+Inf")] == [0, 1, 1]


def test_waiting_counts_only_for_requests_that_were_computed(metrics: Metrics):
    metrics.request_finished(RequestFact("a", "forward", "ok", seconds=0.2, rows=4, queue_seconds=0.125))
    metrics.request_finished(RequestFact("a", "forward", "invalid", seconds=0.1))
    page = read(metrics)
    assert page.value("gradserve_queue_duration_seconds_count", **OF_A) == 1
    assert page.value("gradserve_queue_duration_seconds_sum", **OF_A) == 0.125
    assert page.value("gradserve_request_duration_seconds_count", **OF_A) == 2
    assert page.value("gradserve_rows_total", **OF_A) == 4


@pytest.mark.parametrize("outcome", ["rejected", "deadline"])
def test_a_refusal_for_the_state_of_the_server_counts_by_its_reason(metrics: Metrics, outcome):
    metrics.request_finished(RequestFact("a", "forward", outcome, seconds=0.1, reason="QUEUE_FULL"))
    page = read(metrics)
    assert page.value("gradserve_rejected_total", model="a", reason="queue_full") == 1
    assert page.value("gradserve_requests_total", **OF_A, outcome=outcome) == 1


def test_a_refusal_for_what_was_asked_is_not_a_rejection(metrics: Metrics):
    metrics.request_finished(RequestFact("a", "forward", "invalid", seconds=0.1, reason="SHAPE_MISMATCH"))
    assert not read(metrics).by("reason", "gradserve_rejected_total")


def test_requests_are_in_flight_from_their_start_to_their_end(metrics: Metrics):
    metrics.request_started("forward")
    metrics.request_started("forward")
    metrics.request_finished(RequestFact("gone", "forward", "cancelled", seconds=0.1))
    assert read(metrics).value("gradserve_requests_in_flight", operation="forward") == 1


def test_a_call_that_moves_weights_is_a_state_operation_too(metrics: Metrics):
    metrics.rpc_handled(RpcFact(LOAD, "RESOURCE_EXHAUSTED", seconds=20.0))
    page = read(metrics)
    assert page.value("gradserve_state_operations_total", operation="load_state_dict", result="rejected") == 1
    bucket = "gradserve_state_operation_duration_seconds_bucket"
    assert [page.value(bucket, operation="load_state_dict", le=le) for le in ("10.0", "30.0")] == [0, 1]


def test_a_model_that_is_deleted_loses_its_series(metrics: Metrics):
    metrics.request_finished(RequestFact("a", "forward", "ok", seconds=0.1))
    assert read(metrics).label_values("model") == {"a"}
    metrics.model_deleted("a")
    assert read(metrics).label_values("model") == set()


def test_a_request_that_ends_after_its_model_counts_for_no_model(metrics: Metrics):
    metrics.request_finished(RequestFact("gone", "forward", "rejected", seconds=0.1, reason="QUEUE_FULL"))
    metrics.batch_computed(BatchFact("gone", "forward", "full", rows=3, seconds=0.1, version=1))
    assert read(metrics).label_values("model") == set()


def test_a_snapshot_does_not_change_any_more(metrics: Metrics):
    tell_everything(metrics)
    snapshot = metrics.snapshot(Reading((), (), {}))
    before = counted(snapshot)
    tell_everything(metrics)
    assert counted(snapshot) == before
    assert counted(metrics.snapshot(Reading((), (), {}))) == {series: 2 * value for series, value in before.items()}


def tell_everything(metrics: Metrics) -> None:
    """One fact of each kind, so that every number that is kept moves."""
    metrics.rpc_started(LOAD)
    metrics.rpc_received(LOAD)
    metrics.rpc_sent(LOAD)
    metrics.rpc_handled(RpcFact(LOAD, "OK", seconds=0.5))
    metrics.request_started("forward")
    metrics.request_started("forward")
    metrics.request_finished(RequestFact("a", "forward", "deadline", 0.5, 3, 0.25, finite=False, reason="QUEUE_FULL"))
    metrics.batch_computed(BatchFact("a", "forward", "full", rows=3, seconds=0.5, version=1))


def counted(snapshot: Snapshot) -> dict[Series, float]:
    """What moves when facts are told: not what the process and its build are."""
    values = Scrape.of(snapshot.collect()).values
    moving = {series: value for series, value in values.items() if series[0].startswith(("grpc_", "gradserve_"))}
    return {series: value for series, value in moving.items() if series[0] != "gradserve_build_info"}


def test_what_is_read_off_the_server_are_gauges(metrics: Metrics):
    model = ModelReading(
        name="a",
        device="cuda:0",
        dtype="float32",
        ready=False,
        trainable_parameters=10,
        frozen_parameters=3,
        version=4,
        version_timestamp=1.5,
        checkpoint_bytes=99,
        queue=QueueState(requests=2, rows=6, capacity_rows=64),
    )
    page = read(metrics, model)
    assert page.value("gradserve_model_info", model="a", device="cuda:0", dtype="float32") == 1
    assert page.value("gradserve_model_parameters", model="a", trainable="true") == 10
    assert page.value("gradserve_model_parameters", model="a", trainable="false") == 3
    gauges = {
        "model_ready": 0,
        "model_version": 4,
        "model_version_timestamp_seconds": 1.5,
        "checkpoint_bytes": 99,
        "queue_requests": 2,
        "queue_rows": 6,
        "queue_capacity_rows": 64,
    }
    assert {name: page.value(f"gradserve_{name}", model="a") for name in gauges} == gauges
    assert page.value("gradserve_device_memory_bytes", device="cuda:0", kind="allocated") == 5
