"""Spans of a real server, as a collector gets them; and that nothing goes out unless somebody asks for it."""

import re
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

import gradserve
from gradserve import codec
from gradserve.v1 import inference_pb2, inference_pb2_grpc
from gradserve_server.traces import start_traces
from gradserve_server.traces.spans import NUMBERS
from tests.support.collector import Collector, collecting, values
from tests.support.failing_gradserve import BUG
from tests.support.lines import ACCESS, JSON, line_of
from tests.support.server import FAILING_GRADSERVE, GRADSERVE, RunningServer, start_server
from tests.support.strace import require_strace
from tests.support.waiting import seconds_until

SECONDS = 20
FRAGILE = """
[models.fragile]
layers = [{type = "Fragile"}, {type = "Linear", in_features = 2, out_features = 1}]
"""
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as listening:
        yield listening


@pytest.fixture(scope="module")
def traced(collector: Collector) -> Iterator[RunningServer]:
    """A server that sends its traces to the collector, without delay, and writes of each call too."""
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{collector.target}", "OTEL_BSP_SCHEDULE_DELAY": "10"}
    talking = (*JSON, "--set", "log.requests=true")
    with start_server(*talking, config=FRAGILE, program=FAILING_GRADSERVE, env=env) as running:
        yield running


def forward(target: str, value: float = 0.0, width: int = 2, **metadata: str) -> None:
    """Call Forward with a row of one number, whatever becomes of it."""
    tensor = codec.encode(np.full((1, width), value, np.float32))
    request = inference_pb2.ForwardRequest(model="fragile", input=tensor)
    sent = tuple((key.replace("_", "-"), text) for key, text in metadata.items())
    with grpc.insecure_channel(target) as channel:
        call = inference_pb2_grpc.InferenceServiceStub(channel).Forward.future(request, metadata=sent, timeout=SECONDS)
        call.exception()


def test_a_call_is_a_span_of_its_callers_trace(traced: RunningServer, collector: Collector):
    forward(traced.target, x_request_id="t-1", traceparent=f"00-{TRACE}-{PARENT}-01")
    span = collector.span("t-1")
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert (span.name, span.kind) == ("gradserve.v1.InferenceService/Forward", Span.SPAN_KIND_SERVER)
    attributes = values(span.attributes)
    computed = attributes.pop("gradserve.queue_seconds") + attributes.pop("gradserve.compute_seconds")
    assert 0 < computed < (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9
    assert attributes == {
        "rpc.system": "grpc",
        "rpc.service": "gradserve.v1.InferenceService",
        "rpc.method": "Forward",
        "rpc.grpc.status_code": 0,
        "gradserve.request_id": "t-1",
        "gradserve.model": "fragile",
        "gradserve.version": 1,
        "gradserve.operation": "forward",
        "gradserve.outcome": "ok",
        "gradserve.rows": 1,
        "gradserve.batch_rows": 1,
    }
    assert span.status.code == Status.STATUS_CODE_UNSET
    assert collector.resource["service.name"] == "gradserve"


def test_a_call_without_a_trace_begins_one_and_its_line_names_it(traced: RunningServer, collector: Collector):
    forward(traced.target, x_request_id="t-2")
    span = collector.span("t-2")
    assert not span.parent_span_id
    assert line_of(traced, ACCESS, "t-2")["trace_id"] == span.trace_id.hex()


def test_a_refusal_is_told_with_its_reason_and_is_no_error_of_the_server(traced: RunningServer, collector: Collector):
    forward(traced.target, width=3, x_request_id="t-3")
    span = collector.span("t-3")
    attributes = values(span.attributes)
    assert attributes["rpc.grpc.status_code"] == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert attributes["gradserve.reason"] == "SHAPE_MISMATCH"
    assert span.status.code == Status.STATUS_CODE_UNSET


def test_a_bug_is_an_error_of_the_server(traced: RunningServer, collector: Collector):
    forward(traced.target, value=BUG, x_request_id="t-4")
    span = collector.span("t-4")
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert span.status.message.startswith("internal error ")


def test_a_caller_who_does_not_sample_is_not_sampled(traced: RunningServer, collector: Collector):
    forward(traced.target, x_request_id="t-5", traceparent=f"00-{TRACE}-{PARENT}-00")
    forward(traced.target, x_request_id="t-6")
    collector.span("t-6")
    assert "t-5" not in {values(span.attributes).get("gradserve.request_id") for span in collector.spans}
    assert line_of(traced, ACCESS, "t-5")["trace_id"] == TRACE


def test_each_request_of_a_stream_is_an_event_of_its_span(traced: RunningServer, collector: Collector):
    with gradserve.Client(traced.target) as client, client.model("fragile").stream() as stream:
        futures = [stream.forward(np.zeros((1, 2), np.float32)) for _ in range(3)]
        assert [future.result(SECONDS).shape for future in futures] == [(1, 1)] * 3
    forward(traced.target, x_request_id="t-7")
    collector.span("t-7")
    (span,) = (span for span in collector.spans if span.name.endswith("/ForwardStream"))
    assert [event.name for event in span.events] == ["gradserve.request"] * 3
    assert values(span.events[0].attributes)["gradserve.model"] == "fragile"


def test_each_of_the_calls_that_are_computed_together_is_told_in_its_own_span_and_line(
    traced: RunningServer, collector: Collector
):
    rows = {f"together-{count}": count for count in range(1, 33)}
    with grpc.insecure_channel(traced.target) as channel:
        ask = inference_pb2_grpc.InferenceServiceStub(channel).Forward
        requests = {
            name: inference_pb2.ForwardRequest(model="fragile", input=codec.encode(np.zeros((count, 2), np.float32)))
            for name, count in rows.items()
        }
        calls = [
            ask.future(request, metadata=[("x-request-id", name)], timeout=20) for name, request in requests.items()
        ]
        for call in calls:
            call.result()

    spans = {name: values(collector.span(name).attributes) for name in rows}
    assert {name: attributes.get("gradserve.rows") for name, attributes in spans.items()} == rows
    assert {name: line_of(traced, ACCESS, name).get("rows") for name in rows} == rows


def test_a_change_is_a_span_with_its_model(traced: RunningServer, collector: Collector):
    with gradserve.Client(traced.target) as client:
        client.create_model("made", gradserve.MLP(1, [], 1))
    forward(traced.target, x_request_id="t-9")
    collector.span("t-9")
    (span,) = (span for span in collector.spans if span.name.endswith("/CreateModel"))
    assert values(span.attributes)["gradserve.model"] == "made"


def test_a_server_that_stops_sends_what_it_still_has():
    with collecting() as late:
        env = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"http://{late.target}", "OTEL_BSP_SCHEDULE_DELAY": "600000"}
        with start_server(
            "--set", "server.drain_delay=0", config=FRAGILE, program=FAILING_GRADSERVE, env=env
        ) as server:
            forward(server.target, x_request_id="t-10")
            assert late.spans == []
            assert server.stop() == 0
        assert late.span("t-10").name.endswith("/Forward")


def test_every_status_of_grpc_has_its_number():
    assert {code.name: code.value[0] for code in grpc.StatusCode} == NUMBERS


WITHOUT_OPENTELEMETRY = """
import sys
sys.modules["opentelemetry.sdk.trace"] = None
from gradserve.cli import main
sys.exit(main())
"""


def test_without_the_extra_a_server_that_is_to_send_traces_says_what_to_install(tmp_path: Path):
    program = tmp_path / "program.py"
    program.write_text(WITHOUT_OPENTELEMETRY)
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    with start_server("--set", "server.drain_delay=0", program=(GRADSERVE[0], str(program)), env=env) as server:
        assert server.stop() == 0
        assert (
            "no traces are sent: opentelemetry.sdk.trace is not installed: pip install 'gradserve[otel]'"
            in server.log()
        )


def test_an_exporter_that_is_not_there_is_named_with_its_package():
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
    with start_server("--set", "server.drain_delay=0", env=env) as server:
        assert server.stop() == 0
        assert "pip install opentelemetry-exporter-otlp-proto-http" in server.log()


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_SERVICE_NAME": "mine", "OTEL_TRACES_SAMPLER": "always_on"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "TRUE"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
    ],
)
def test_no_traces_are_made_unless_a_variable_asks_for_them(environ):
    assert start_traces(environ) is None


# The second shows that the first means something.
@pytest.mark.parametrize(
    ("env", "connects"), [({}, False), ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, True)]
)
def test_no_connection_goes_out_unless_an_exporter_is_configured(tmp_path: Path, env, connects):
    require_strace("THAT NOTHING GOES OUT IS")
    calls = tmp_path / "calls"
    # As a grandchild, so that the process that is started is the server.
    under_strace = ("strace", "-D", "-f", "-e", "trace=connect", "-o", str(calls), *FAILING_GRADSERVE)
    with start_server("--set", "server.drain_delay=0", config=FRAGILE, program=under_strace, env=env) as server:
        forward(server.target)
        assert server.stop() == 0
    ended = re.compile(rf"^{server.process.pid} +\+\+\+ exited with 0", re.MULTILINE)
    seconds_until(lambda: ended.search(calls.read_text()) is not None, SECONDS)
    assert bool(re.findall(r"sa_family=AF_INET6?", calls.read_text())) is connects
