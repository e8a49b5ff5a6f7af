"""Weights that arrive slowly, on a loop whose clock jumps to its next timer instead of waiting for it."""

from __future__ import annotations

import asyncio
import hashlib
import selectors
from collections.abc import AsyncIterator

import pytest
from safetensors.torch import save

from gradserve.v1.state_pb2 import LoadStateDictHeader, LoadStateDictRequest, StateDictTrailer
from gradserve_server.architecture import mlp
from gradserve_server.archive import Archive
from gradserve_server.changes import Changes
from gradserve_server.config import Limits
from gradserve_server.definitions import NewModel
from gradserve_server.engine.device import Devices
from gradserve_server.errors import DeadlineExceeded
from gradserve_server.registry import Registry
from gradserve_server.servicers.pace import Pace
from gradserve_server.servicers.state import StateServicer

RATE = 1000


class JumpingSelector(selectors.DefaultSelector):
    """Never waits for a timer, and keeps the time that it should have waited."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait only where nothing but an event can end the waiting."""
        ready = super().select(None if timeout is None else 0)
        if not ready and timeout:
            self.now += timeout
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    """A loop with that selector."""

    def __init__(self) -> None:
        self._clock = JumpingSelector()
        super().__init__(self._clock)

    def time(self) -> float:
        """The seconds for which it should have waited so far."""
        return self._clock.now


async def parts(data: bytes, chunk: int, pause: float) -> AsyncIterator[LoadStateDictRequest]:
    """An upload that pauses before each chunk."""
    yield LoadStateDictRequest(header=LoadStateDictHeader(model="a", total_bytes=len(data)))
    for start in range(0, len(data), chunk):
        await asyncio.sleep(pause)
        yield LoadStateDictRequest(chunk=data[start : start + chunk])
    yield LoadStateDictRequest(trailer=StateDictTrailer(sha256=hashlib.sha256(data).digest()))


async def load(chunk: int, pause: float) -> tuple[int, float]:
    """Load a model of 280 kB; give its version and the seconds that it took."""
    devices = Devices(threads=1)
    archive = Archive(None, automatic_checkpoints=0)
    registry = Registry(devices, Limits(min_upload_bytes_per_second=RATE), archive, Changes())
    hosted = await registry.create(NewModel("a", mlp(100, (600,), 20, "ReLU"), device="cpu"))
    data = save(dict(hosted.model.module.state_dict()))
    begun = asyncio.get_running_loop().time()
    try:
        reply = await StateServicer(registry).LoadStateDict(parts(data, chunk, pause), None)
    finally:
        devices.close()
    return reply.version, asyncio.get_running_loop().time() - begun


def run(chunk: int, pause: float) -> tuple[int, float]:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(load(chunk, pause))


def test_an_upload_at_the_least_rate_is_waited_for_however_long_it_takes():
    version, seconds = run(chunk=29 * RATE, pause=29)
    assert (version, seconds > 280) == (2, True)


def test_an_upload_that_brings_a_byte_now_and_then_is_ended():
    with pytest.raises(DeadlineExceeded, match="1 bytes came in 29 seconds") as refusal:
        run(chunk=1, pause=29)
    assert refusal.value.reason == "STREAM_SLOW"


def test_an_upload_below_the_least_rate_is_ended():
    with pytest.raises(DeadlineExceeded, match="1000 a second are expected"):
        run(chunk=10 * RATE, pause=15)


def test_an_upload_that_pauses_for_too_long_is_ended():
    with pytest.raises(DeadlineExceeded, match="did not come within 30 seconds") as refusal:
        run(chunk=100 * RATE, pause=31)
    assert refusal.value.reason == "STREAM_IDLE"


@pytest.mark.parametrize(
    ("received", "waited", "patience"),
    [(0, 0, 30), (0, 10, 20), (0, 40, 0), (5000, 10, 25), (10_000, 10, 30), (10**9, 10, 30)],
)
def test_patience_goes_down_by_the_seconds_that_the_bytes_are_late(received, waited, patience):
    assert Pace(RATE, received_bytes=received, waited_seconds=waited).patience == patience
