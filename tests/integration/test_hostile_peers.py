"""Peers that mean harm, on HTTP/2 by hand: each is cut off, holds little memory, and no other caller's call fails."""

from __future__ import annotations

import functools
import json
import os
import statistics
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import grpc
import numpy as np
import pytest

import gradserve
from benchmarks.processes import MemoryGrowth, ServerProcess
from gradserve import codec
from gradserve.v1 import inference_pb2, inference_pb2_grpc, state_pb2
from tests.support.http2_peer import Http2Peer, http2_peer
from tests.support.server import RunningServer, start_server

LATE = 60.0
"""Seconds within which something must have happened on a busy machine."""

ROUNDS = int(os.environ.get("HOSTILE_ROUNDS", "0"))
"""How often the p99 of other calls is compared, with and without; 5 are the full length, and need a quiet machine."""

MEASURED = 6.0
"""Seconds that each of these takes."""

IDLE, AGE, GRACE = 1.0, 2 * MEASURED if ROUNDS else 2.0, 1.0
"""Seconds until the server cuts off a peer: one without a call, and one with a call that does not end.

No connection comes of age while calls are measured: one that is just then on its way would have to be sent again.
"""

MOST_BYTES = 100 * 10**6
"""How much memory all peers of one kind may hold."""

FORWARD = "/gradserve.v1.InferenceService/Forward"
GET_STATE_DICT = "/gradserve.v1.StateService/GetStateDict"
REFUSED = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]

Open = Callable[[], Http2Peer]
"""Opens a connection and greets."""

Attack = Callable[[Open], list[Http2Peer]]
"""Does harm, and gives those who have done it and are still connected."""


@pytest.fixture(scope="module")
def cutting(listening: None) -> Iterator[RunningServer]:
    """A server that soon cuts off its peers, with a model of 33 MB."""
    limits = {"max_idle": IDLE, "max_age": AGE, "max_age_grace": GRACE}
    flags = [word for name, value in limits.items() for word in ("--set", f"connections.{name}={value}")]
    with start_server("--examples", *flags) as server:
        with gradserve.Client(server.target) as client:
            client.create_model("wide", gradserve.MLP(2048, [], 4096), device="cpu")
            client.model("wide").state_dict()
        yield server
        assert "Traceback" not in server.log()


def message(data: bytes, *, compressed: bool = False, size: int | None = None) -> bytes:
    """A message of gRPC; its head may tell another size."""
    return struct.pack(">BI", compressed, len(data) if size is None else size) + data


def slow_readers(connect: Open) -> list[Http2Peer]:
    """A hundred ask for 33 MB each, and take no more of it than they cannot refuse."""
    peers = [connect() for _ in range(100)]
    request = message(state_pb2.GetStateDictRequest(model="wide").SerializeToString())
    for peer in peers:
        peer.send(peer.call(GET_STATE_DICT), request, LATE, ended=True)
    return peers


def header_only_streams(connect: Open) -> list[Http2Peer]:
    """A hundred calls on one connection whose requests never come."""
    peer = connect()
    for _ in range(100):
        peer.call(FORWARD)
    return [peer]


def rapid_resets(connect: Open) -> list[Http2Peer]:
    """Ten thousand calls that are taken back at once."""
    peer = connect()
    peer.call_and_reset(FORWARD, 10_000)
    return [peer]


@functools.cache
def bomb() -> bytes:
    packing = zlib.compressobj(9, wbits=31)
    return b"".join(packing.compress(bytes(2**20)) for _ in range(256)) + packing.flush()


def gzip_bomb(connect: Open) -> list[Http2Peer]:
    """250 KB that would become 256 MB."""
    data = message(bomb(), compressed=True)
    peer = connect()
    stream = peer.call(FORWARD, {"grpc-encoding": "gzip"})
    peer.send(stream, data, LATE)
    assert peer.status(stream, LATE) == REFUSED
    return [peer]


def frame_of_a_gibibyte(connect: Open) -> list[Http2Peer]:
    """A message that says that 1 GiB will come, and begins."""
    peer = connect()
    stream = peer.call(FORWARD)
    peer.send(stream, message(bytes(10_000), size=2**30), LATE)
    assert peer.status(stream, LATE) == REFUSED
    return [peer]


ATTACKS = [slow_readers, header_only_streams, rapid_resets, gzip_bomb, frame_of_a_gibibyte]


@contextmanager
def connections(target: str) -> Iterator[Open]:
    """Opens connections until the block ends."""
    with ExitStack() as stack:

        def connect() -> Http2Peer:
            peer = stack.enter_context(http2_peer(target))
            peer.greet()
            return peer

        yield connect


@contextmanager
def caller(target: str) -> Iterator[list[float]]:
    """Call the server until the block ends; gives the answers. A call that fails ends the test.

    As by default, gRPC sends a call again that came to a connection just as it ended, and no other.
    """
    ended, answers = threading.Event(), []
    request = inference_pb2.ForwardRequest(model="logistic-regression", input=codec.encode(np.zeros(1, np.float32)))
    options = [("grpc.use_local_subchannel_pool", 1)]

    def call(channel: grpc.Channel) -> None:
        forward = inference_pb2_grpc.InferenceServiceStub(channel).Forward
        while not ended.is_set():
            answers.append(codec.decode(forward(request, timeout=LATE).output).item())

    with grpc.insecure_channel(target, options) as channel, ThreadPoolExecutor(1) as pool:
        calling = pool.submit(call, channel)
        try:
            yield answers
        finally:
            ended.set()
            calling.result()


def p99(target: str, attack: Attack | None = None) -> float:
    """The 99th percentile of the seconds of other calls, told by a process of its own, under attack after attack."""
    command = [sys.executable, "-m", "gradserve", "bench", "logistic-regression", "--server", target, "--json"]
    command += ["--concurrency", "1", "--seconds", str(MEASURED)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as bench:
        while attack is not None and bench.poll() is None:
            with connections(target) as connect:
                for peer in attack(connect):
                    peer.seconds_until_closed(within=LATE)
        told = json.loads(bench.communicate()[0])
    assert set(told["codes"]) == {"OK"}
    return float(told["latency_seconds"]["p99"])


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_hostile_peers_are_cut_off_and_no_other_call_fails(cutting: RunningServer, attack: Attack, report: list[str]):
    process = ServerProcess(cutting.target, cutting.process.pid)
    with (
        connections(cutting.target) as connect,
        caller(cutting.target) as answers,
        MemoryGrowth(process) as growth,
    ):
        peers = attack(connect)
        answered_before = len(answers)
        seconds = [peer.seconds_until_closed(within=LATE) for peer in peers]
        assert len(answers) - answered_before > 10
    megabytes, longest = growth.bytes / 1e6, max(seconds)
    report.append(
        f"{attack.__name__}: {megabytes:.0f} MB, cut off after {longest:.1f} s, {len(answers)} calls answered"
    )
    assert set(answers) == {0.5}
    assert growth.bytes < MOST_BYTES
    if ROUNDS:
        ratios = [p99(cutting.target, attack) / p99(cutting.target) for _ in range(ROUNDS)]
        report.append(f"{attack.__name__}: p99 of other calls {statistics.median(ratios):.2f} times that without")
        assert statistics.median(ratios) < 1.5
