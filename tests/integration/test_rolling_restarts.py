"""Two servers that are restarted in turn, under callers who watch their health and call nothing twice."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
import pytest

import gradserve
from gradserve import codec
from gradserve.v1 import inference_pb2, inference_pb2_grpc
from tests.support.server_lives import ServerLives, server_lives
from tests.support.waiting import seconds_until

RESTARTS = int(os.environ.get("ROLLING_RESTARTS", "4"))
"""How many restarts; `ROLLING_RESTARTS=100 pytest tests/integration/test_rolling_restarts.py` is the full length."""

CALLERS = 8
WIDTH, ROWS = 512, 16
"""Of a call that takes milliseconds, so that some are under way at each stop."""

PAUSE = 0.001
"""Seconds between two calls of a caller: the machine must have time to start servers."""

LATE = 60
_ROUND_ROBIN = {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}}
_OPTIONS = [
    ("grpc.service_config", json.dumps(_ROUND_ROBIN)),
    ("grpc.enable_retries", 0),
    # So that a server that is back is soon called.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 200),
]


@dataclass
class Record:
    """How the calls ended: how many with a reply, by the version of the model, and what the others were told."""

    answered: Counter[int] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def call(self, channel: grpc.Channel, ended: threading.Event) -> None:
        """Call again and again."""
        forward = inference_pb2_grpc.InferenceServiceStub(channel).Forward
        request = inference_pb2.ForwardRequest(model="model", input=codec.encode(np.zeros((ROWS, WIDTH), np.float32)))
        while not ended.wait(PAUSE):
            try:
                version = forward(request, timeout=LATE).version
            except grpc.RpcError as error:
                with self.lock:
                    self.failed[f"{error.code().name}: {error.details()}"] += 1
            else:
                with self.lock:
                    self.answered[version] += 1


@dataclass
class Place:
    """Where one server after the other lives.

    Attributes:
        lives: The servers.
        data_dir: What they keep.
        target: Where they listen.
        version: That of their model, by which one sees who has answered.
    """

    lives: ServerLives
    data_dir: Path
    target: str
    version: int

    @classmethod
    def new(cls, lives: ServerLives, data_dir: Path, version: int) -> Place:
        """Have the first one live; give its model a version."""
        lives.begin(data_dir)
        target = lives.target()
        with gradserve.Client(target) as client:
            model = client.create_model("model", gradserve.MLP(WIDTH, [WIDTH, WIDTH], 1), device="cpu")
            while model.info().version < version:
                model.load_state_dict(model.state_dict())
        return cls(lives, data_dir, target, version)

    def restart(self, record: Record) -> None:
        """Have one stop and the next one live, until it is called."""
        assert self.lives.stop() == 0
        before = record.answered[self.version]
        self.lives.begin(self.data_dir, self.target)
        assert self.lives.target() == self.target
        seconds_until(lambda: record.answered[self.version] > before, LATE)


@contextmanager
def callers(targets: list[str]) -> Iterator[Record]:
    """Have the servers called by turns until the block ends."""
    record, ended = Record(), threading.Event()
    with grpc.insecure_channel(f"ipv4:{','.join(targets)}", _OPTIONS) as channel, ThreadPoolExecutor(CALLERS) as pool:
        calling = [pool.submit(record.call, channel, ended) for _ in range(CALLERS)]
        try:
            yield record
        finally:
            ended.set()
        for caller in calling:
            caller.result()


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_no_call_fails_while_each_of_two_servers_is_restarted_in_turn(tmp_path: Path, report: list[str]):
    logs = [tmp_path / "log-1", tmp_path / "log-2"]
    with server_lives(logs[0]) as first, server_lives(logs[1]) as second:
        places = [Place.new(lives, tmp_path / str(version), version) for version, lives in ((1, first), (2, second))]
        with callers([place.target for place in places]) as record:
            for place in places:
                seconds_until(lambda place=place: record.answered[place.version] > 0, LATE)
            for restart in range(RESTARTS):
                places[restart % 2].restart(record)
        assert [place.lives.stop() for place in places] == [0, 0]
    report.append(
        f"{RESTARTS} rolling restarts: {record.answered.total()} calls answered, {record.failed.total()} failed"
    )
    assert record.failed == {}
    assert min(record.answered.values()) > 10 * RESTARTS
    assert "Traceback" not in "".join(log.read_text() for log in logs)
