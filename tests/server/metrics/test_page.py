"""The page of metrics of a real server, after traffic that is known."""

import gzip
import math
import urllib.request
from collections.abc import Iterator

import grpc
import numpy as np
import pytest

import gradserve
from gradserve import codec
from gradserve.v1.inference_pb2 import ForwardRequest
from gradserve.v1.inference_pb2_grpc import InferenceServiceStub
from gradserve_server.metrics.rpcs import GO_CODES
from tests.support.metrics import SECONDS, Scrape, page, scrape, scrape_until
from tests.support.server import RunningServer, start_server

FORWARD = {"grpc_type": "unary", "grpc_service": "gradserve.v1.InferenceService", "grpc_method": "Forward"}
BOUNDS = ["0.0001", "0.0002", "0.0005", "0.001", "0.002", "0.005", "0.01", "0.02", "0.05", "0.1", "0.25", "0.5"]
BOUNDS += ["1.0", "2.5", "5.0", "10.0", "+Inf"]
VERSION_TIME = "gradserve_model_version_timestamp_seconds"


@pytest.fixture(scope="module")
def lone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server of these tests alone, on which each makes models of its own."""
    with start_server("--examples", data_dir=tmp_path_factory.mktemp("data")) as running:
        yield running


@pytest.fixture(scope="module")
def http(lone_server: RunningServer) -> str:
    """Where it tells its metrics."""
    return lone_server.http


@pytest.fixture(scope="module")
def client(lone_server: RunningServer) -> Iterator[gradserve.Client]:
    with gradserve.Client(lone_server.target) as opened:
        yield opened


@pytest.fixture
def before(http: str) -> Scrape:
    """What the page said before the test did anything."""
    return scrape(http)


def small_model(client: gradserve.Client, name: str) -> gradserve.Model:
    return client.create_model(name, gradserve.MLP(2, [], 1), seed=0)


def test_every_method_is_there_with_every_status_before_it_is_called(before: Scrape):
    handled = [dict(labels) for name, labels in before.values if name == "grpc_server_handled_total"]
    methods = {(labels["grpc_service"], labels["grpc_method"]) for labels in handled}
    assert {("gradserve.v1.ModelService", "UpdateModel"), ("grpc.health.v1.Health", "Watch")} <= methods
    assert len(handled) == len(methods) * len(grpc.StatusCode)


def test_every_status_of_grpc_has_a_spelling():
    assert set(GO_CODES) == {code.name for code in grpc.StatusCode}


def test_calls_count_with_their_messages_and_their_time(http, client, before):
    for _ in range(3):
        client.model("logistic-regression").forward([[1.1]])
    more = scrape(http) - before
    for name in ("started", "msg_received", "msg_sent"):
        assert more.value(f"grpc_server_{name}_total", **FORWARD) == 3
    assert more.by("grpc_code", "grpc_server_handled_total", **FORWARD) == {"OK": 3}
    buckets = [more.value("grpc_server_handling_seconds_bucket", **FORWARD, le=bound) for bound in BOUNDS]
    assert buckets == sorted(buckets)
    assert buckets[-1] == more.value("grpc_server_handling_seconds_count", **FORWARD) == 3
    assert 0 < more.value("grpc_server_handling_seconds_sum", **FORWARD) < SECONDS


def test_the_bounds_of_calls_are_these_and_no_others(before):
    name = "grpc_server_handling_seconds_bucket"
    assert {dict(labels)["le"] for series, labels in before.values if series == name} == set(BOUNDS)


def test_refusals_count_by_status_as_go_spells_it(http, client, before):
    with pytest.raises(gradserve.NotFoundError):
        client.model("nobody").forward([[1.0]])
    with pytest.raises(gradserve.InvalidArgumentError):
        client.model("digits").forward([[1.0]])
    name, expected = "grpc_server_handled_total", {"NotFound": 1, "InvalidArgument": 1}
    scrape_until(http, lambda found: (found - before).by("grpc_code", name, **FORWARD) == expected)


def test_requests_count_by_model_operation_and_outcome(http, client):
    model = small_model(client, "counted")
    model.forward([[1.0, 0.0], [2.0, 0.0]])
    model.forward(np.ones(2, np.float32))
    model.gradient([[1.1, 0.0]], [[1.0]], loss="mse_loss")
    with pytest.raises(gradserve.InvalidArgumentError):
        model.forward([[1.0]])
    found = scrape(http)
    forward, gradient = ({"model": "counted", "operation": operation} for operation in ("forward", "gradient"))
    assert found.by("outcome", "gradserve_requests_total", **forward) == {"ok": 2, "invalid": 1}
    assert found.by("outcome", "gradserve_requests_total", **gradient) == {"ok": 1}
    assert found.value("gradserve_rows_total", **forward) == 3
    assert found.value("gradserve_request_duration_seconds_count", **forward) == 3
    assert found.value("gradserve_requests_in_flight", operation="forward") == 0
    assert found.value("gradserve_nonfinite_outputs_total", **forward) == 0


def test_what_is_too_large_is_rejected_for_its_reason(lone_server, http, client):
    """The client would not send it."""
    client.create_model("tall", gradserve.MLP(1, [], 1))
    rows = codec.encode(np.zeros((2**20 + 1, 1), np.float32))
    with grpc.insecure_channel(lone_server.target) as channel, pytest.raises(grpc.RpcError) as caught:
        InferenceServiceStub(channel).Forward(ForwardRequest(model="tall", input=rows), timeout=SECONDS)
    found = scrape(http)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert found.by("reason", "gradserve_rejected_total", model="tall") == {"too_many_rows": 1}
    assert found.by("outcome", "gradserve_requests_total", model="tall") == {"rejected": 1}


@pytest.mark.parametrize("bad", [math.nan, math.inf], ids=["nan", "inf"])
def test_replies_with_a_nan_or_an_infinity_count_once_each(http, client, bad):
    name = f"not-finite-{bad}"
    model = small_model(client, name)
    model.forward([[bad, 1.0], [bad, bad]])
    model.gradient([[bad, 1.0]], [[1.0]], loss="mse_loss")
    operations = {"forward": 1, "gradient": 1}
    assert scrape(http).by("operation", "gradserve_nonfinite_outputs_total", model=name) == operations


def test_a_model_tells_where_it_is_and_what_it_has(http, client):
    model = client.create_model("placed", gradserve.MLP(2, [3], 1), dtype="float64", device="cpu")
    model.requires_grad_("layers.0.*", False)
    found = scrape(http)
    assert found.value("gradserve_model_info", model="placed", device="cpu", dtype="float64") == 1
    assert found.value("gradserve_model_ready", model="placed") == 1
    assert found.by("trainable", "gradserve_model_parameters", model="placed") == {"true": 4, "false": 9}


def test_new_weights_move_the_version_and_its_time_and_nothing_else_does(http, client):
    model = small_model(client, "moving")
    created = scrape(http)
    model.requires_grad_("*", False)
    frozen = scrape(http)
    model.load_state_dict(model.state_dict())
    loaded = scrape(http)
    model.to(dtype="float64")
    converted = scrape(http)
    pages = (created, frozen, loaded, converted)
    assert [found.value("gradserve_model_version", model="moving") for found in pages] == [1, 1, 2, 3]
    times = [found.value(VERSION_TIME, model="moving") for found in pages]
    assert times[0] == times[1] < times[2] < times[3]


def test_a_restart_keeps_the_time_of_the_weights_that_are_kept(tmp_path):
    with start_server(data_dir=tmp_path) as server, gradserve.Client(server.target) as client:
        model = small_model(client, "a")
        model.load_state_dict(model.state_dict())
        kept = scrape(server.http).value(VERSION_TIME, model="a")
        model.load_state_dict(model.state_dict(), durable=False)
        model.requires_grad_("*", False)
        server.stop()
    with start_server(data_dir=tmp_path) as server:
        assert scrape(server.http).value(VERSION_TIME, model="a") == kept


def test_checkpoints_of_one_version_count_their_file_once(http, client):
    model = small_model(client, "saved")
    size = scrape(http).value("gradserve_checkpoint_bytes", model="saved")
    model.save_checkpoint("same")
    same = scrape(http).value("gradserve_checkpoint_bytes", model="saved")
    model.load_state_dict(model.state_dict())
    assert same == size > 0
    assert scrape(http).value("gradserve_checkpoint_bytes", model="saved") == 2 * size


def test_state_operations_count_by_result(http, client, before):
    model = small_model(client, "kept")
    model.load_state_dict(model.state_dict())
    model.save_checkpoint("c")
    with pytest.raises(gradserve.AlreadyExistsError):
        model.save_checkpoint("c")
    name, save = "gradserve_state_operations_total", {"operation": "save_checkpoint"}
    expected = {"ok": 1, "invalid": 1}
    more = scrape_until(http, lambda found: (found - before).by("result", name, **save) == expected) - before
    assert more.by("operation", name, result="ok") == {"get_state_dict": 1, "load_state_dict": 1, "save_checkpoint": 1}
    assert more.value("gradserve_state_operation_duration_seconds_count", **save) == 2


def test_a_deleted_model_loses_all_its_series(http, client):
    model = small_model(client, "passing-by")
    model.forward([[1.0, 2.0]])
    there = scrape(http)
    client.delete_model("passing-by")
    assert "passing-by" in there.label_values("model")
    assert "passing-by" not in scrape(http).label_values("model")


def test_a_model_that_takes_the_name_of_a_deleted_one_begins_at_zero(http, client):
    small_model(client, "again").forward([[1.0, 2.0]])
    client.delete_model("again")
    small_model(client, "again").forward([[1.0, 2.0]])
    assert scrape(http).by("outcome", "gradserve_requests_total", model="again") == {"ok": 1}


def test_hostile_names_of_models_and_methods_leave_the_series_as_they_were(lone_server, http, before):
    names = ["", "a" * 10_000, 'x"} 1\nevil{y="', "../../etc/passwd", "nobody", "\N{SNOWMAN}"]
    paths = ["/gradserve.v1.InferenceService/Evil", '/evil"}/x', "/a/b/c", "/"]
    with grpc.insecure_channel(lone_server.target) as channel:
        for name in names:
            _refuse(channel, "/gradserve.v1.InferenceService/Forward", _first_field(name.encode()))
            _refuse(channel, "/gradserve.v1.StateService/GetStateDict", _first_field(name.encode()))
        for path in paths:
            _refuse(channel, path, b"")
    assert set(scrape(http).values) == set(before.values)


def _first_field(text: bytes) -> bytes:
    """A protobuf message whose first field is a text."""
    length = bytes([len(text)]) if len(text) < 128 else bytes([len(text) % 128 | 128, len(text) // 128])
    return b"\x0a" + length + text


def _refuse(channel: grpc.Channel, path: str, request: bytes) -> None:
    with pytest.raises(grpc.RpcError):
        list(channel.unary_stream(path, None, None)(request, timeout=SECONDS))


def test_the_process_and_python_are_there_and_no_time_of_creation(before):
    names = {name for name, _ in before.values}
    assert {"process_resident_memory_bytes", "process_cpu_seconds_total", "python_info"} <= names
    assert not [name for name in names if name.endswith("_created")]


def test_the_build_and_the_devices_are_told(client, before):
    info = client.server_info()
    assert before.by("torch", "gradserve_build_info", version=info.version) == {info.torch_version: 1}
    memory = {device.name: float(device.memory_bytes) for device in info.devices}
    assert before.by("device", "gradserve_device_memory_bytes", kind="total") == memory


def test_the_server_tells_where_its_metrics_are(http, client):
    assert http == f"http://{client.server_info().metrics_address}"


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
    ],
)
def test_the_format_is_the_one_that_is_asked_for(http, accept, content_type):
    text, told = page(http, accept=accept)
    assert told.startswith(content_type)
    assert text.endswith("# EOF\n") == accept.startswith("application")


def test_a_page_is_compressed_for_who_takes_it_so(http):
    request = urllib.request.Request(f"{http}/metrics", headers={"accept-encoding": "gzip"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=SECONDS) as reply:  # noqa: S310 - an address of the test's own
        assert b"grpc_server_started_total" in gzip.decompress(reply.read())
