"""The gauges: what the server is and has at the moment of a scrape."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric

from gradserve.__about__ import __version__
from gradserve_server.engine.capabilities.catalogue import describe_catalogue
from gradserve_server.metrics.pauses import unhurried
from gradserve_server.metrics.readings import ModelReading, Reading


def gauge_families(reading: Reading, in_flight: Mapping[str, int]) -> Iterator[Metric]:
    """The families of a reading.

    Args:
        reading: The server's state.
        in_flight: How many requests of each operation have started and not ended.
    """
    yield _build_info()
    yield from _model_families(reading)
    yield from _queue_families(reading.models)
    requests = GaugeMetricFamily(
        "gradserve_requests_in_flight", "Requests that have arrived and not ended.", labels=("operation",)
    )
    for operation, count in in_flight.items():
        requests.add_metric((operation,), count)
    yield requests
    memory = GaugeMetricFamily("gradserve_device_memory_bytes", "Memory of devices.", labels=("device", "kind"))
    for device, kinds in reading.memory.items():
        for kind, size in kinds.items():
            memory.add_metric((device, kind), size)
    yield memory


def _build_info() -> Metric:
    info = GaugeMetricFamily(
        "gradserve_build_info", "What is running; always 1.", labels=("version", "python", "torch", "cuda")
    )
    catalogue = describe_catalogue()
    info.add_metric((__version__, platform.python_version(), catalogue.torch_version, catalogue.cuda_version), 1)
    return info


def _model_families(reading: Reading) -> Iterator[Metric]:
    info = GaugeMetricFamily("gradserve_model_info", "Where a model is; always 1.", labels=("model", "device", "dtype"))
    parameters = GaugeMetricFamily(
        "gradserve_model_parameters",
        "Elements of a model's parameters, by whether they require grad.",
        labels=("model", "trainable"),
    )
    ready = _of_a_model("model_ready", "Whether a model is served: 1 or 0.")
    version = _of_a_model("model_version", "The version of a model's weights.")
    timestamp = _of_a_model("model_version_timestamp_seconds", "When a model's weights were accepted.")
    checkpoints = _of_a_model("checkpoint_bytes", "Files of a model's checkpoints.")
    for name in reading.damaged:
        ready.add_metric((name,), 0)
    for model in unhurried(reading.models):
        info.add_metric((model.name, model.device, model.dtype), 1)
        parameters.add_metric((model.name, "true"), model.trainable_parameters)
        parameters.add_metric((model.name, "false"), model.frozen_parameters)
        ready.add_metric((model.name,), model.ready)
        version.add_metric((model.name,), model.version)
        timestamp.add_metric((model.name,), model.version_timestamp)
        if model.checkpoint_bytes is not None:
            checkpoints.add_metric((model.name,), model.checkpoint_bytes)
    yield from (info, ready, parameters, version, timestamp, checkpoints)


def _queue_families(models: Iterable[ModelReading]) -> Iterator[Metric]:
    requests = _of_a_model("queue_requests", "Requests that wait to be computed.")
    rows = _of_a_model("queue_rows", "Rows of the requests that wait to be computed.")
    capacity = _of_a_model("queue_capacity_rows", "The most rows that may wait to be computed.")
    for model in models:
        if model.queue is not None:
            requests.add_metric((model.name,), model.queue.requests)
            rows.add_metric((model.name,), model.queue.rows)
            capacity.add_metric((model.name,), model.queue.capacity_rows)
    yield from (requests, rows, capacity)


def _of_a_model(name: str, documentation: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"gradserve_{name}", documentation, labels=("model",))
