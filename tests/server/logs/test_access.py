"""What is written of calls, by a real server: nothing by default, a line for each on request."""

import re
from collections.abc import Iterator

import grpc
import numpy as np
import pytest

import gradserve
from gradserve import codec
from gradserve.v1 import inference_pb2, inference_pb2_grpc
from tests.support.failing_gradserve import BUG
from tests.support.lines import ACCESS, AUDIT, JSON, line_of, lines, lines_until
from tests.support.server import FAILING_GRADSERVE, RunningServer, start_server

SECONDS = 20
FRAGILE = """
[models.fragile]
layers = [{type = "Fragile"}, {type = "Linear", in_features = 2, out_features = 1}]
"""
FORWARD = "gradserve.v1.InferenceService/Forward"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(scope="module")
def talking() -> Iterator[RunningServer]:
    """A server that writes of each call."""
    with start_server("--examples", *JSON, "--set", "log.requests=true") as running:
        yield running


@pytest.fixture(scope="module")
def quiet() -> Iterator[RunningServer]:
    """A server that writes what it writes by default, as JSON; it has a bug."""
    with start_server(*JSON, config=FRAGILE, program=FAILING_GRADSERVE) as running:
        yield running


def forward(target: str, *metadata: tuple[str, str], model: str = "digits", width: int = 64) -> grpc.Call:
    """Call Forward with a row of zeros, and give the call when it has ended."""
    tensor = codec.encode(np.zeros((1, width), np.float32))
    request = inference_pb2.ForwardRequest(model=model, input=tensor)
    with grpc.insecure_channel(target) as channel:
        call = inference_pb2_grpc.InferenceServiceStub(channel).Forward
        under_way = call.future(request, metadata=metadata, timeout=SECONDS)
        under_way.exception()
        return under_way


def test_a_call_has_a_line_with_what_it_was_and_took(talking: RunningServer):
    forward(talking.target, ("x-request-id", "id-1"), ("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01"))
    line = line_of(talking, ACCESS, "id-1")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line.pop("caller").startswith("ipv4:127.0.0.1:")
    assert 0 < line.pop("queue_seconds") + line.pop("compute_seconds") < line.pop("seconds")
    assert line == {
        "level": "info",
        "logger": ACCESS,
        "message": "Forward OK",
        "request_id": "id-1",
        "trace_id": TRACE,
        "rpc": FORWARD,
        "operation": "forward",
        "model": "digits",
        "version": 1,
        "rows": 1,
        "batch_rows": 1,
        "status": "OK",
    }


def test_a_refused_call_has_a_line_with_the_reason(talking: RunningServer):
    forward(talking.target, ("x-request-id", "id-2"), width=3)
    line = line_of(talking, ACCESS, "id-2")
    assert (line["status"], line["reason"], line["model"]) == ("INVALID_ARGUMENT", "SHAPE_MISMATCH", "digits")
    assert line["error"].startswith("input.shape: ")
    assert "compute_seconds" not in line


def test_a_call_for_a_model_that_is_not_there_names_it_too(talking: RunningServer):
    forward(talking.target, ("x-request-id", "id-3"), model="nobody")
    line = line_of(talking, ACCESS, "id-3")
    assert (line["status"], line["model"]) == ("NOT_FOUND", "nobody")


def test_each_request_of_a_stream_has_a_line_and_so_has_the_stream(talking: RunningServer):
    def items() -> Iterator[inference_pb2.ForwardStreamRequest]:
        for number, width in enumerate((64, 3)):
            tensor = codec.encode(np.zeros((1, width), np.float32))
            request = inference_pb2.ForwardRequest(model="digits", input=tensor)
            yield inference_pb2.ForwardStreamRequest(id=number, request=request)

    with grpc.insecure_channel(talking.target) as channel:
        stream = inference_pb2_grpc.InferenceServiceStub(channel).ForwardStream
        assert len(list(stream(items(), metadata=(("x-request-id", "id-4"),), timeout=SECONDS))) == 2

    found = lines_until(talking, ACCESS, lambda all_: sum(line.get("request_id") == "id-4" for line in all_) == 3)
    told = [line for line in found if line.get("request_id") == "id-4"]
    assert told.pop()["message"] == "ForwardStream OK"
    # The second is refused while the first one is computed.
    answered, refused = sorted(told, key=lambda line: "reason" in line)
    assert (answered["message"], answered["version"]) == ("forward ok", 1)
    assert (refused["message"], refused["reason"]) == ("forward invalid", "SHAPE_MISMATCH")


def test_the_level_debug_writes_of_calls_too():
    with start_server("--examples", *JSON, "--set", "log.level=debug") as server:
        forward(server.target, ("x-request-id", "id-5"))
        assert line_of(server, ACCESS, "id-5")["level"] == "debug"


@pytest.mark.parametrize("sent", ["", "two words", "x" * 129])
def test_who_sends_no_usable_id_is_given_one_and_told_it_if_he_is_refused(talking: RunningServer, sent):
    refused = forward(talking.target, *([("x-request-id", sent)] if sent else []), model="nobody")
    given = dict(refused.trailing_metadata() or ())["x-request-id"]
    assert isinstance(given, str)
    assert re.fullmatch("[0-9a-f]{16}", given)
    assert line_of(talking, ACCESS, given)["status"] == "NOT_FOUND"


@pytest.mark.parametrize(
    "sent",
    [
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-00f067aa0ba902b7-01",
        f"00-{TRACE.upper()}-00f067aa0ba902b7-01",
        "no",
    ],
)
def test_what_is_no_trace_context_is_not_written(talking: RunningServer, sent):
    given = f"id-{hash(sent)}"
    forward(talking.target, ("x-request-id", given), ("traceparent", sent))
    assert "trace_id" not in line_of(talking, ACCESS, given)


def test_by_default_calls_leave_no_line_whether_answered_or_refused(quiet: RunningServer):
    with gradserve.Client(quiet.target) as client:
        client.model("fragile")(np.zeros((1, 2)))
        with pytest.raises(gradserve.InvalidArgumentError):
            client.model("fragile")(np.zeros((1, 3)))
        # A line that comes later shows that none is still on its way.
        client.create_model("later", gradserve.MLP(1, [], 1))
    lines_until(quiet, AUDIT, lambda all_: any(line["model"] == "later" for line in all_))
    assert lines(quiet, ACCESS) == []


def test_a_bug_is_written_with_the_id_that_its_caller_was_told_and_that_of_his_request(quiet: RunningServer):
    with gradserve.Client(quiet.target) as client, pytest.raises(gradserve.InternalError) as caught:
        client.model("fragile")(np.full((1, 2), BUG), deterministic=True)
    line = line_of(quiet, "gradserve_server.status", str(caught.value.call_id))
    assert (line["level"], line["message"]) == ("error", caught.value.message)
    assert "AssertionError: a bug" in line["exception"]


def test_a_bug_that_a_request_of_a_stream_meets_is_written_with_the_id_of_the_stream(quiet: RunningServer):
    with (
        gradserve.Client(quiet.target) as client,
        client.model("fragile").stream() as stream,
        pytest.raises(gradserve.InternalError) as caught,
    ):
        stream.forward(np.full((1, 2), BUG), deterministic=True).result(SECONDS)
    assert line_of(quiet, "gradserve_server.status", str(caught.value.call_id))["message"] == caught.value.message
