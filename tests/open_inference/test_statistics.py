"""ModelStatistics tells the numbers that Prometheus is told, whichever protocol a model was asked by."""

import time
from collections.abc import Iterator

import grpc
import numpy as np
import pytest

import gradserve
from gradserve_server.open_inference import grpc_service_pb2, grpc_service_pb2_grpc
from tests.support.metrics import Scrape, scrape
from tests.support.server import start_server

NET = "mlp-50-30-20-3"
X = np.ones((4, 50), np.float32)
OPERATIONS = {NET: "forward", f"{NET}.gradient": "gradient"}

Counted = tuple[grpc_service_pb2.ModelStatistics, Scrape]


@pytest.fixture(scope="module")
def counted() -> Iterator[dict[str, Counted]]:
    """What a server tells of a model that was asked by both protocols, and what it tells Prometheus, by name."""
    with start_server("--examples") as server, grpc.insecure_channel(server.target) as channel:
        stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
        inputs = [{"name": "input", "datatype": "FP32", "shape": X.shape}]
        asked = grpc_service_pb2.ModelInferRequest(model_name=NET, inputs=inputs, raw_input_contents=[X.tobytes()])
        with gradserve.Client(server.target) as client:
            for _ in range(3):
                client.model(NET)(X)
                client.model(NET).gradient(X, grad_output=np.ones((4, 3)), wrt="input")
                stub.ModelInfer(asked, timeout=20)
            with pytest.raises(gradserve.InvalidArgumentError):
                client.model(NET)(X[:, :49])
        told = stub.ModelStatistics(grpc_service_pb2.ModelStatisticsRequest(), timeout=20).model_stats
        page = scrape(server.http)
        yield {model.name: (model, page) for model in told}


@pytest.mark.parametrize(("name", "requests"), [(NET, 6), (f"{NET}.gradient", 3)])
def test_rows_executions_and_requests_are_those_of_prometheus(counted: dict[str, Counted], name: str, requests: int):
    told, page = counted[name]
    labels = {"model": NET, "operation": OPERATIONS[name]}
    assert told.inference_count == 4 * requests == page.value("gradserve_rows_total", **labels)
    assert told.execution_count == requests == sum(page.by("reason", "gradserve_batches_total", **labels).values())
    outcomes = page.by("outcome", "gradserve_requests_total", **labels)
    assert told.inference_stats.success.count == requests == outcomes.pop("ok")
    assert told.inference_stats.fail.count == sum(outcomes.values()) == (name == NET)
    assert told.inference_stats.queue.count == told.inference_stats.compute_infer.count == requests


@pytest.mark.parametrize("name", OPERATIONS)
def test_durations_are_those_of_prometheus(counted: dict[str, Counted], name: str):
    told, page = counted[name]
    labels = {"model": NET, "operation": OPERATIONS[name]}
    stats = told.inference_stats
    seconds = {
        "request": stats.success.ns + stats.fail.ns,
        "queue": stats.queue.ns,
        # Each request was a batch of its own.
        "compute": stats.compute_infer.ns,
    }
    for duration, ns in seconds.items():
        assert ns / 1e9 == pytest.approx(page.value(f"gradserve_{duration}_duration_seconds_sum", **labels), abs=1e-8)
    assert stats.success.ns > stats.compute_infer.ns > 0


def test_the_last_inference_is_told_in_milliseconds_since_1970(counted: dict[str, Counted]):
    told, _ = counted[NET]
    assert 0 < time.time() - told.last_inference / 1000 < 60


def test_a_model_that_nobody_has_asked_has_zeros(counted: dict[str, Counted]):
    told, _ = counted["digits"]
    assert (told.inference_count, told.execution_count, told.last_inference) == (0, 0, 0)
