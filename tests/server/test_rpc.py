"""How calls of every kind are counted, whichever way they end."""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

import gradserve
from gradserve.v1 import state_pb2
from gradserve.v1.state_pb2_grpc import StateServiceStub
from tests.support.metrics import SECONDS, scrape, scrape_until
from tests.support.server import RunningServer, start_server

STATE, HEALTH = "gradserve.v1.StateService", "grpc.health.v1.Health"
REFLECTION = "grpc.reflection.v1alpha.ServerReflection"


def of(grpc_type: str, service: str, method: str) -> dict[str, str]:
    return {"grpc_type": grpc_type, "grpc_service": service, "grpc_method": method}


LOAD = of("client_stream", STATE, "LoadStateDict")
GET = of("server_stream", STATE, "GetStateDict")
WATCH = of("server_stream", HEALTH, "Watch")
REFLECT = of("bidi_stream", REFLECTION, "ServerReflectionInfo")

UPLOAD_FOR_TWO_SECONDS = """
import sys, threading, grpc
from gradserve.v1 import state_pb2, state_pb2_grpc

def parts():
    yield state_pb2.LoadStateDictRequest(header=state_pb2.LoadStateDictHeader(model="digits", total_bytes=1000))
    threading.Event().wait()

state_pb2_grpc.StateServiceStub(grpc.insecure_channel(sys.argv[1])).LoadStateDict(parts(), timeout=2)
"""


class Ended(NamedTuple):
    """How calls have ended, and what was counted of them: calls started, messages received, messages sent."""

    codes: Mapping[str, float]
    started: float | None
    received: float | None
    sent: float | None


@pytest.fixture(scope="module")
def lone_server() -> Iterator[RunningServer]:
    """A server of these tests alone."""
    with start_server("--examples") as running:
        yield running
        assert "Traceback" not in running.log()


@pytest.fixture
def channel(lone_server: RunningServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(lone_server.target) as opened:
        yield opened


@pytest.fixture
def ended(lone_server: RunningServer) -> Callable[[Mapping[str, str]], Ended]:
    """Waits until one call of a method has ended since the test began, and tells how."""
    before = scrape(lone_server.http)

    def wait(method: Mapping[str, str]) -> Ended:
        name = "grpc_server_handled_total"
        more = scrape_until(lone_server.http, lambda now: bool((now - before).by("grpc_code", name, **method))) - before
        counts = (more.value(f"grpc_server_{name}_total", **method) for name in ("started", "msg_received", "msg_sent"))
        return Ended(more.by("grpc_code", name, **method), *counts)

    return wait


@pytest.fixture
def arrived(lone_server: RunningServer) -> Callable[[Mapping[str, str]], object]:
    """Waits until the server has read a message of a method since the test began."""
    before, name = scrape(lone_server.http), "grpc_server_msg_received_total"
    return lambda method: scrape_until(lone_server.http, lambda now: (now - before).value(name, **method) == 1)


class UnfinishedUpload:
    """A call of LoadStateDict whose sender says what it will send, and then waits."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.end = threading.Event()
        self.call = StateServiceStub(channel).LoadStateDict.future(self._parts(), timeout=SECONDS)

    def _parts(self) -> Iterator[state_pb2.LoadStateDictRequest]:
        header = state_pb2.LoadStateDictHeader(model="digits", total_bytes=1000)
        yield state_pb2.LoadStateDictRequest(header=header)
        self.end.wait(SECONDS)


def test_a_download_counts_one_request_and_each_part_of_its_reply(channel, ended):
    request = state_pb2.GetStateDictRequest(model="digits")
    parts = len(list(StateServiceStub(channel).GetStateDict(request, timeout=SECONDS)))
    assert parts > 2
    assert ended(GET) == ({"OK": 1}, 1, 1, parts)


def test_an_upload_that_ends_too_early_counts_its_part_and_is_invalid(channel, ended):
    upload = UnfinishedUpload(channel)
    upload.end.set()
    assert upload.call.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert ended(LOAD) == ({"InvalidArgument": 1}, 1, 1, 0)


def test_a_bidirectional_stream_counts_messages_both_ways(channel, ended):
    ask = reflection_pb2.ServerReflectionRequest(list_services="")
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    assert len(list(stub.ServerReflectionInfo(iter([ask, ask, ask]), timeout=SECONDS))) == 3
    assert ended(REFLECT) == ({"OK": 1}, 1, 3, 3)


def test_a_malformed_request_counts_as_a_call_but_not_as_a_message(channel, ended):
    call = channel.stream_stream(f"/{REFLECTION}/ServerReflectionInfo", None, None)
    with pytest.raises(grpc.RpcError):
        next(call(iter([b"\xff\xff"]), timeout=SECONDS))
    assert ended(REFLECT) == ({"InvalidArgument": 1}, 1, 0, 0)


def test_a_cancelled_upload_is_canceled_and_not_one_that_ends_too_early(channel, arrived, ended):
    upload = UnfinishedUpload(channel)
    arrived(LOAD)
    upload.call.cancel()
    assert ended(LOAD) == ({"Canceled": 1}, 1, 1, 0)
    upload.end.set()


def test_a_watch_that_is_cancelled_between_messages_is_canceled(channel, ended):
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=SECONDS)
    next(watch)
    watch.cancel()
    assert ended(WATCH) == ({"Canceled": 1}, 1, 1, 1)


def test_a_download_that_is_cancelled_while_a_part_is_being_sent_is_canceled(lone_server, channel, ended):
    """Its parts are many and nobody reads them: the server waits for room when it hears of the cancellation."""
    with gradserve.Client(lone_server.target) as client:
        client.create_model("large", gradserve.MLP(2048, [2048], 2048))
    request = state_pb2.GetStateDictRequest(model="large")
    download = StateServiceStub(channel).GetStateDict(request, timeout=SECONDS)
    next(download)
    download.cancel()
    assert ended(GET).codes == {"Canceled": 1}


def test_a_call_past_its_deadline_is_deadline_exceeded(lone_server, arrived, ended):
    """Its caller is stopped, as its own clock might run out first and cancel the call."""
    command = [sys.executable, "-c", UPLOAD_FOR_TWO_SECONDS, lone_server.target]
    with subprocess.Popen(command) as caller:
        arrived(LOAD)
        caller.send_signal(signal.SIGSTOP)
        assert ended(LOAD) == ({"DeadlineExceeded": 1}, 1, 1, 0)
        caller.kill()
