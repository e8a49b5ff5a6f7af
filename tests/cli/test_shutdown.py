"""How a server ends: asked, hurried, or because its device has failed. Real processes, and their exit codes."""

import signal
import threading
import time
import urllib.error
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import gradserve
from gradserve.v1 import state_pb2, state_pb2_grpc
from tests.support.failing_gradserve import BUG, DEVICE_FAULT, OTHER_ERROR
from tests.support.metrics import page
from tests.support.server import FAILING_GRADSERVE, RunningServer, start_server
from tests.support.waiting import seconds_until

SECONDS = 30
PATIENT = ("--set", "server.drain_delay=600", "--set", "server.drain_grace=600")
FRAGILE = """
[models.fragile]
layers = [{type = "Fragile"}, {type = "Linear", in_features = 2, out_features = 1}]
"""


def is_ready(server: RunningServer) -> bool:
    try:
        page(server.http, "/readyz")
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return False
    return True


def endless_upload() -> Iterator[state_pb2.LoadStateDictRequest]:
    yield state_pb2.LoadStateDictRequest(header=state_pb2.LoadStateDictHeader(model="digits", total_bytes=1000))
    threading.Event().wait(SECONDS)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_cuts_the_drain_short_and_calls_in_flight_end_as_unavailable(signum):
    with start_server("--examples", *PATIENT) as server, grpc.insecure_channel(server.target) as channel:
        upload = state_pb2_grpc.StateServiceStub(channel).LoadStateDict.future(endless_upload())
        health = health_pb2_grpc.HealthStub(channel)
        health.Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        server.process.send_signal(signum)
        seconds_until(lambda: not is_ready(server), SECONDS)
        assert not upload.done()
        begun = time.monotonic()
        assert server.stop(signum) == 128 + signum
        assert time.monotonic() - begun < 10
        assert upload.code() is grpc.StatusCode.UNAVAILABLE


def test_a_second_signal_ends_the_grace_of_calls_in_flight_too():
    with (
        start_server("--examples", "--set", "server.drain_delay=0", "--set", "server.drain_grace=600") as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        upload = state_pb2_grpc.StateServiceStub(channel).LoadStateDict.future(endless_upload())
        health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        server.process.send_signal(signal.SIGTERM)
        # No new calls: the drain's delay is over, and the grace has begun.
        seconds_until(lambda: not takes_calls(server.target), SECONDS)
        assert not upload.done()
        assert server.stop() == 128 + signal.SIGTERM
        assert upload.code() is grpc.StatusCode.UNAVAILABLE


def takes_calls(target: str) -> bool:
    with grpc.insecure_channel(target) as channel:
        try:
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        except grpc.RpcError:
            return False
    return True


def test_a_device_that_fails_ends_the_server_so_that_it_is_started_again():
    with (
        start_server(*PATIENT, config=FRAGILE, program=FAILING_GRADSERVE) as server,
        gradserve.Client(server.target) as client,
    ):
        model = client.model("fragile")
        model(np.zeros((1, 2)), deterministic=True)
        with pytest.raises(gradserve.InternalError):
            model(np.full((1, 2), DEVICE_FAULT), deterministic=True)
        seconds_until(lambda: not is_ready_or_gone(server), SECONDS)
        assert server.process.wait(SECONDS) == 9
        assert "cpu has failed, and the server with it: CUDA error: device-side assert triggered" in server.log()


def is_ready_or_gone(server: RunningServer) -> bool:
    try:
        return is_ready(server)
    except OSError:
        return False


@pytest.mark.parametrize("number", [BUG, OTHER_ERROR])
def test_an_error_after_which_the_device_goes_on_does_not_end_the_server(number):
    with (
        start_server(config=FRAGILE, program=FAILING_GRADSERVE) as server,
        gradserve.Client(server.target) as client,
    ):
        model = client.model("fragile")
        with pytest.raises(gradserve.InternalError):
            model(np.full((1, 2), number), deterministic=True)
        model(np.zeros((1, 2)), deterministic=True)
        assert server.stop() == 0
