"""Peers that hold more of a server than they use: each is cut off at its limit, and nobody else notices."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import gradserve
from gradserve import codec
from gradserve.v1 import inference_pb2, inference_pb2_grpc, state_pb2, state_pb2_grpc
from tests.support.http2_peer import Http2Peer, http2_peer
from tests.support.server import RunningServer, start_server
from tests.support.waiting import seconds_until

SOON = 0.5
LATE = 10.0
"""Seconds within which something must have happened on a busy machine."""

FORWARD = "/gradserve.v1.InferenceService/Forward"


def served(**connections: float) -> list[str]:
    return [word for name, value in connections.items() for word in ("--set", f"connections.{name}={value}")]


@pytest.fixture(scope="module")
def asking(listening: None) -> Iterator[RunningServer]:
    """A server that soon asks whether a client is still there."""
    with start_server(*served(keepalive_time=SOON, keepalive_timeout=SOON)) as server:
        yield server
        assert "Traceback" not in server.log()


@pytest.fixture(scope="module")
def short_lived(listening: None) -> Iterator[RunningServer]:
    """A server whose connections do not get old."""
    with start_server("--examples", *served(max_age=2 * SOON, max_age_grace=SOON)) as server:
        with gradserve.Client(server.target) as client:
            client.create_model("wide", gradserve.MLP(2048, [], 4096), device="cpu")
        yield server
        assert "Traceback" not in server.log()


def test_a_peer_that_connects_and_says_nothing_is_cut_off(listening: None):
    with start_server(*served(handshake_timeout=SOON)) as server, http2_peer(server.target) as peer:
        peer.seconds_until_closed(within=LATE)


def test_a_connection_without_a_call_is_closed(listening: None):
    with start_server(*served(max_idle=SOON)) as server, http2_peer(server.target) as peer:
        peer.greet()
        peer.seconds_until_closed(within=LATE)


def test_a_peer_that_has_gone_without_a_word_is_cut_off(asking: RunningServer):
    """It greets, and then answers nothing, as one whose machine has lost power."""
    with http2_peer(asking.target) as peer:
        peer.greet()
        peer.seconds_until_closed(within=LATE)


def test_a_peer_that_is_silent_but_there_stays(asking: RunningServer):
    with http2_peer(asking.target) as peer:
        peer.greet()
        assert peer.answer_pings(6, within=6 * LATE)


def test_a_connection_beyond_the_limit_is_closed_until_another_has_ended(listening: None):
    with start_server(*served(max_connections=2)) as server:
        with http2_peer(server.target) as first, http2_peer(server.target) as second:
            assert all(is_served(peer) for peer in (first, second))
            with http2_peer(server.target) as third:
                assert not is_served(third)
        seconds_until(lambda: is_reachable(server.target), LATE)


def is_served(peer: Http2Peer) -> bool:
    peer.greet()
    return peer.is_greeted(within=LATE)


def is_reachable(target: str) -> bool:
    with http2_peer(target) as peer:
        return is_served(peer)


@pytest.mark.parametrize("size", [1000, 15_000])
def test_metadata_up_to_the_limit_arrive(target: str, size: int):
    with grpc.insecure_channel(target) as channel:
        forward(channel, metadata=(("filler", "x" * size),))


def test_metadata_beyond_the_limit_are_refused(target: str):
    with grpc.insecure_channel(target) as channel, pytest.raises(grpc.RpcError) as caught:
        forward(channel, metadata=(("filler", "x" * 17_000),))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def forward(channel: grpc.Channel, metadata: tuple[tuple[str, str], ...] = ()) -> None:
    request = inference_pb2.ForwardRequest(model="logistic-regression", input=codec.encode(np.zeros(1, np.float32)))
    inference_pb2_grpc.InferenceServiceStub(channel).Forward(request, metadata=metadata, timeout=LATE)


def test_no_call_fails_while_connections_get_old_and_are_replaced(short_lived: RunningServer):
    """Over several lives of a connection; what meets an old one's end is sent again by gRPC itself, unseen."""
    with grpc.insecure_channel(short_lived.target) as channel:
        end = time.monotonic() + 8 * SOON
        while time.monotonic() < end:
            forward(channel)


def test_a_call_without_end_ends_with_the_age_of_its_connection(short_lived: RunningServer):
    with grpc.insecure_channel(short_lived.target) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=LATE)
        with pytest.raises(grpc.RpcError) as caught:
            list(watch)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_calls_that_never_send_their_request_end_and_others_are_answered_meanwhile(short_lived: RunningServer):
    never = threading.Event()
    try:
        with grpc.insecure_channel(short_lived.target) as channel:
            call = channel.stream_unary(FORWARD, request_serializer=None, response_deserializer=None)
            held = [call.future(iter(never.wait, True), timeout=2 * LATE) for _ in range(100)]
            served_meanwhile = calls_until(short_lived.target, lambda: all(one.done() for one in held))
            codes = {one.code() for one in held}
    finally:
        never.set()
    assert codes == {grpc.StatusCode.UNAVAILABLE}
    assert served_meanwhile > 10


def test_calls_whose_replies_nobody_reads_end_and_others_are_answered_meanwhile(short_lived: RunningServer):
    with grpc.insecure_channel(short_lived.target) as channel:
        state_dict = state_pb2_grpc.StateServiceStub(channel).GetStateDict
        unread = [state_dict(state_pb2.GetStateDictRequest(model="wide"), timeout=6 * LATE) for _ in range(10)]
        # What is not read does not tell its end; a call on the same connection does.
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="nobody"))
        next(watch)
        ended = threading.Event()
        watch.add_callback(ended.set)
        served_meanwhile = calls_until(short_lived.target, ended.is_set)
        codes = {code_at_the_end(one) for one in unread}
    assert codes == {grpc.StatusCode.UNAVAILABLE}
    assert served_meanwhile > 10


def code_at_the_end(call: Iterator[object]) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    return caught.value.code()


def calls_until(target: str, ended: Callable[[], bool]) -> int:
    """Call again and again, on connections of its own; give how often until then."""
    with grpc.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        calls = 0
        while not ended():
            forward(channel)
            calls += 1
    return calls
