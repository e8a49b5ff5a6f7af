"""ForwardStream and GradientStream of a real server: what a stream answers is what a call for each request would."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import grpc
import hypothesis
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2
from hypothesis import strategies as st

from gradserve.v1 import inference_pb2, inference_pb2_grpc, model_pb2, model_pb2_grpc
from tests.integration import bad_inference
from tests.integration.bad_input import architecture, linear, reason_of, tensor
from tests.integration.probes import Probe, probed_models
from tests.support.server import RunningServer, start_server

Request = inference_pb2.ForwardRequest | inference_pb2.GradientRequest
Item = inference_pb2.ForwardStreamRequest | inference_pb2.GradientStreamRequest
Answer = inference_pb2.ForwardStreamResponse | inference_pb2.GradientStreamResponse

TIMEOUT = 60
PROBED = probed_models("stream", 3, threads=1)
PROBES = [probe for model in PROBED for probe in model.probes]
BAD = [row.request for row in bad_inference.ROWS]

# Some hundred milliseconds of work, and next to none.
HEAVY = model_pb2.CreateModelRequest(
    name="stream-heavy", architecture=architecture(*[linear(1024, 1024)] * 3, linear(1024, 1))
)
TINY = model_pb2.CreateModelRequest(name="stream-tiny", architecture=architecture(linear(4, 3)))
HEAVY_REQUEST = inference_pb2.ForwardRequest(model=HEAVY.name, input=tensor(4096, 1024))
TINY_REQUEST = inference_pb2.ForwardRequest(model=TINY.name, input=tensor(1, 4))
MODELS = (HEAVY, TINY, *bad_inference.MODELS, *(model.creation for model in PROBED))

int64s = st.integers(-(2**63), 2**63 - 1)


@dataclass(frozen=True)
class Rpcs:
    """The inference service on one channel."""

    stub: inference_pb2_grpc.InferenceServiceStub

    def call(self, request: Request) -> bytes:
        """What a call gives for a request: its reply, or its failure as a CallError."""
        method = self.stub.Forward if isinstance(request, inference_pb2.ForwardRequest) else self.stub.Gradient
        try:
            reply = method(request, timeout=TIMEOUT)
        except grpc.RpcError as error:
            return inference_pb2.CallError(
                code=error.code().value[0], message=error.details(), **_trailers(error)
            ).SerializeToString()
        return reply.SerializeToString(deterministic=True)

    def stream(self, items: Sequence[Item]) -> list[Answer]:
        """The answers of one stream, in their order."""
        is_forward = isinstance(items[0], inference_pb2.ForwardStreamRequest)
        return list((self.stub.ForwardStream if is_forward else self.stub.GradientStream)(iter(items), timeout=TIMEOUT))


def _trailers(error: grpc.RpcError) -> dict[str, bytes | int]:
    trailers = dict(error.trailing_metadata())
    found: dict[str, bytes | int] = {"details": trailers["grpc-status-details-bin"]}
    if "grpc-retry-pushback-ms" in trailers:
        found["retry_pushback_ms"] = int(trailers["grpc-retry-pushback-ms"])
    return found


def item_of(request: Request, number: int = 0, timeout: Duration | None = None) -> Item:
    is_forward = isinstance(request, inference_pb2.ForwardRequest)
    kind = inference_pb2.ForwardStreamRequest if is_forward else inference_pb2.GradientStreamRequest
    return kind(id=number, request=request, timeout=timeout)


def result_of(answer: Answer) -> bytes:
    """What came of a request, in the form that `Rpcs.call` gives it."""
    which = answer.WhichOneof("result")
    return getattr(answer, which).SerializeToString(deterministic=True)


def streams_of(requests: Iterable[Request]) -> list[list[Request]]:
    """The requests of each kind, which a stream of its own takes."""
    requests = list(requests)
    kinds = (inference_pb2.ForwardRequest, inference_pb2.GradientRequest)
    return [kept for kind in kinds if (kept := [request for request in requests if isinstance(request, kind)])]


@pytest.fixture(scope="module")
def rpcs() -> Iterator[Rpcs]:
    """A server of its own: others too make models of these names, and count on their first version."""
    options = [("grpc.max_send_message_length", -1)]
    with start_server() as server, grpc.insecure_channel(server.target, options) as channel:
        models = model_pb2_grpc.ModelServiceStub(channel)
        for creation in MODELS:
            models.CreateModel(creation, timeout=TIMEOUT)
        models.UpdateModel(bad_inference.FREEZE, timeout=TIMEOUT)
        yield Rpcs(inference_pb2_grpc.InferenceServiceStub(channel))
        assert "internal error" not in server.log()


@hypothesis.settings(max_examples=100, deadline=None, database=None)
@hypothesis.given(asked=st.lists(st.tuples(int64s, st.sampled_from(PROBES)), min_size=1, max_size=20))
def test_the_answers_of_streams_are_those_of_torch(rpcs: Rpcs, asked: list[tuple[int, Probe]]) -> None:
    """And so those of calls, of which other tests show the same."""
    for kind in (inference_pb2.ForwardRequest, inference_pb2.GradientRequest):
        of_kind = [(number, probe) for number, probe in asked if isinstance(probe.request, kind)]
        # An id that is drawn twice cannot tell which answer is whose.
        expected = dict(of_kind)
        items = [item_of(probe.request, number) for number, probe in expected.items()]
        answers = rpcs.stream(items) if items else []
        assert sorted(answer.id for answer in answers) == sorted(expected)
        for answer in answers:
            assert answer.WhichOneof("result") == "response", answer.error
            assert expected[answer.id].errors(answer.response) == []


@pytest.mark.parametrize("requests", streams_of(BAD), ids=lambda requests: type(requests[0]).__name__)
def test_each_refused_request_has_the_status_the_details_and_the_pushback_of_a_call(
    rpcs: Rpcs, requests: list[Request]
) -> None:
    answers = rpcs.stream([item_of(request, number) for number, request in enumerate(requests)])

    results = {answer.id: result_of(answer) for answer in answers}
    assert all(answer.HasField("error") for answer in answers)
    assert [results[number] for number in range(len(requests))] == [rpcs.call(request) for request in requests]


def test_refused_requests_leave_their_neighbours_alone(rpcs: Rpcs) -> None:
    good = rpcs.call(TINY_REQUEST)
    forward = next(requests for requests in streams_of(BAD) if isinstance(requests[0], inference_pb2.ForwardRequest))

    mixed = [item_of(request) for bad in forward for request in (bad, TINY_REQUEST)]
    answers = rpcs.stream(mixed)

    assert [result_of(answer) for answer in answers if answer.HasField("response")] == [good] * len(forward)


@pytest.mark.parametrize("kind", [inference_pb2.ForwardStreamRequest, inference_pb2.GradientStreamRequest])
def test_an_item_without_a_request_is_refused_by_itself(rpcs: Rpcs, kind: type[Item]) -> None:
    (answer,) = rpcs.stream([kind(id=5)])

    status = status_pb2.Status.FromString(answer.error.details)
    info, violations = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert (status.details[0].Unpack(info), status.details[1].Unpack(violations)) == (True, True)
    assert (answer.id, answer.error.code, info.reason) == (5, code_pb2.INVALID_ARGUMENT, "INVALID_ARGUMENT")
    assert [violation.field for violation in violations.field_violations] == ["request"]


def test_an_answer_overtakes_those_that_take_longer(rpcs: Rpcs) -> None:
    answers = rpcs.stream([item_of(HEAVY_REQUEST, 1), item_of(TINY_REQUEST, 2)])

    assert [answer.id for answer in answers] == [2, 1]


@pytest.mark.parametrize("timeout", [Duration(), Duration(seconds=-1), Duration(nanos=-1)], ids=str)
def test_a_request_whose_time_is_over_is_not_computed(rpcs: Rpcs, timeout: Duration) -> None:
    answers = rpcs.stream([item_of(TINY_REQUEST, 1, timeout), item_of(TINY_REQUEST, 2, Duration(seconds=TIMEOUT))])

    assert [answer.error.code for answer in answers] == [code_pb2.DEADLINE_EXCEEDED, code_pb2.OK]


def test_a_request_waits_no_longer_than_its_own_timeout() -> None:
    """On a server that does not know yet how slow the model is, and so lets the request wait."""
    items = [item_of(HEAVY_REQUEST, 1), item_of(HEAVY_REQUEST, 2, Duration(nanos=1_000_000))]
    with heavy_server() as (_, stub):
        answers = list(stub.ForwardStream(iter(items), timeout=TIMEOUT))

    assert {answer.id: answer.error.code for answer in answers} == {1: code_pb2.OK, 2: code_pb2.DEADLINE_EXCEEDED}


def test_what_waits_for_a_caller_who_goes_away_is_never_computed() -> None:
    with heavy_server() as (server, stub):
        before = cpu_seconds(server)
        stub.Forward(HEAVY_REQUEST, timeout=TIMEOUT)
        one = cpu_seconds(server) - before
        call = stub.ForwardStream(iter([item_of(HEAVY_REQUEST)] * 20), timeout=TIMEOUT)
        next(call)
        call.cancel()
        stub.Forward(HEAVY_REQUEST, timeout=TIMEOUT)
        spent = cpu_seconds(server) - before

    assert spent < 10 * one


def test_a_server_that_stops_answers_what_it_has_and_ends_idle_streams_at_once() -> None:
    """It is stopped within 30 seconds, and would otherwise wait for the streams for a minute."""
    with heavy_server("--set", "server.drain_grace=60") as (server, stub):
        outgoing = SimpleQueue[Item]()
        idle = stub.GradientStream(iter(SimpleQueue[Item]().get, None))
        busy = stub.ForwardStream(iter(outgoing.get, None))
        outgoing.put(item_of(HEAVY_REQUEST, 1))
        outgoing.put(item_of(HEAVY_REQUEST, 2))
        assert next(busy).id == 1
        exit_code = server.stop()
        assert next(busy).id == 2
        ends = [end_of(call) for call in (busy, idle)]

    assert [(end.code(), reason_of(end)) for end in ends] == [(grpc.StatusCode.UNAVAILABLE, "STOPPING")] * 2
    assert exit_code == 0


@contextmanager
def heavy_server(*args: str) -> Iterator[tuple[RunningServer, inference_pb2_grpc.InferenceServiceStub]]:
    """A server of its own, with nothing but the heavy model."""
    with start_server(*args) as server, grpc.insecure_channel(server.target) as channel:
        model_pb2_grpc.ModelServiceStub(channel).CreateModel(HEAVY, timeout=TIMEOUT)
        yield server, inference_pb2_grpc.InferenceServiceStub(channel)


def cpu_seconds(server: RunningServer) -> float:
    """The processor time that a server has used so far."""
    fields = Path("/proc", str(server.process.pid), "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def end_of(call: Iterator[Answer]) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        next(call)
    return caught.value
