"""Two hundred callers at once, and a server that stops under them: no wrong number, and no call lost."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gradserve.v1 import inference_pb2, inference_pb2_grpc, model_pb2, model_pb2_grpc
from tests.integration.probes import Probe, ProbedModel, probed_models
from tests.support.server import RunningServer, start_server

CALLERS = 200
SECONDS = float(os.environ.get("SOAK_SECONDS", "5"))
"""How long they call; `SOAK_SECONDS=20 pytest tests/integration/test_soak.py` is the full length."""

STOPPING_CALLERS = 50
CALLS_BEFORE_THE_STOP = 500
RACES = {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.ALREADY_EXISTS}
"""What a caller may be told because another was faster."""


@dataclass
class Record:
    """What the callers met.

    Attributes:
        answered: Replies by request type.
        refused: Refusals by status.
        wrong: What was wrong with replies.
        enough: Set when so many calls have been answered that the server may stop.
    """

    answered: Counter[str] = field(default_factory=Counter)
    refused: Counter[grpc.StatusCode] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    async def meet(self, request: Message, call: Awaitable[Message]) -> Message | None:
        """Wait for a call and count how it ended."""
        try:
            reply = await call
        except grpc.aio.AioRpcError as error:
            self.refused[error.code()] += 1
            return None
        self.answered[type(request).__name__] += 1
        if self.answered.total() == CALLS_BEFORE_THE_STOP:
            self.enough.set()
        return reply


@dataclass(frozen=True)
class Caller:
    """One caller, with a channel that it may share."""

    channel: grpc.aio.Channel
    record: Record
    dice: random.Random

    async def probe(self, probe: Probe) -> None:
        """Ask for numbers and compare them."""
        stub = inference_pb2_grpc.InferenceServiceStub(self.channel)
        is_forward = isinstance(probe.request, inference_pb2.ForwardRequest)
        call = (stub.Forward if is_forward else stub.Gradient)(probe.request, timeout=60)
        if (reply := await self.record.meet(probe.request, call)) is not None:
            self.record.wrong += [f"{probe.case}: {error}" for error in probe.errors(reply)]

    async def create_or_delete(self, model: ProbedModel) -> None:
        """Change what the others ask for; every creation makes the same weights."""
        stub = model_pb2_grpc.ModelServiceStub(self.channel)
        if self.dice.random() < 0.8:
            await self.record.meet(model.creation, stub.CreateModel(model.creation, timeout=60))
        else:
            request = model_pb2.DeleteModelRequest(name=model.name)
            await self.record.meet(request, stub.DeleteModel(request, timeout=60))

    async def mix(self, steady: list[ProbedModel], changing: list[ProbedModel], until: float) -> None:
        """Do one thing after the other until a time of the loop's clock."""
        while asyncio.get_running_loop().time() < until:
            if self.dice.random() < 0.15:
                await self.create_or_delete(self.dice.choice(changing))
            else:
                model = self.dice.choice(self.dice.choice([steady, changing]))
                await self.probe(self.dice.choice(model.probes))

    async def probe_until(self, stop: asyncio.Event, model: ProbedModel) -> None:
        """Ask for numbers as fast as they come, until told to stop."""
        while not stop.is_set():
            await self.probe(self.dice.choice(model.probes))


def test_two_hundred_callers_at_once_get_no_wrong_number_and_meet_no_bug() -> None:
    with start_server() as server:
        record = asyncio.run(_soak(server.target, probed_models("soak", 12, threads=1)))
        log = server.log()

    assert record.wrong == []
    assert set(record.refused) <= RACES, record.refused
    assert "Traceback" not in log
    assert set(record.answered) == {
        "ForwardRequest",
        "GradientRequest",
        "CreateModelRequest",
        "DeleteModelRequest",
    }


def test_a_server_that_is_told_to_stop_fails_no_call_of_those_who_watch_its_health() -> None:
    model = probed_models("drain", 1, threads=1)[0]
    with start_server() as server:
        record, exit_code = asyncio.run(_stop_under_load(server, model))

    assert record.refused == {}
    assert record.wrong == []
    assert exit_code == 0


async def _soak(target: str, models: list[ProbedModel]) -> Record:
    record = Record()
    steady, changing = models[::2], models[1::2]
    async with _channels(target, 8) as channels:
        for model in steady:
            await model_pb2_grpc.ModelServiceStub(channels[0]).CreateModel(model.creation)
        until = asyncio.get_running_loop().time() + SECONDS
        callers = [
            Caller(channels[number % len(channels)], record, random.Random(number))  # noqa: S311 - no secret
            for number in range(CALLERS)
        ]
        await asyncio.gather(*(caller.mix(steady, changing, until) for caller in callers))
    return record


async def _stop_under_load(server: RunningServer, model: ProbedModel) -> tuple[Record, int]:
    record = Record()
    async with _channels(server.target, 4) as channels:
        await model_pb2_grpc.ModelServiceStub(channels[0]).CreateModel(model.creation)
        stops = [asyncio.Event() for _ in channels]
        async with asyncio.TaskGroup() as tasks:
            for channel, stop in zip(channels, stops, strict=True):
                tasks.create_task(_watch(channel, stop))
            for number in range(STOPPING_CALLERS):
                place = number % len(channels)
                caller = Caller(channels[place], record, random.Random(number))  # noqa: S311 - no secret
                tasks.create_task(caller.probe_until(stops[place], model))
            await record.enough.wait()
            exit_code = tasks.create_task(asyncio.to_thread(server.stop))
    return record, exit_code.result()


async def _watch(channel: grpc.aio.Channel, stop: asyncio.Event) -> None:
    request = health_pb2.HealthCheckRequest()
    async for reply in health_pb2_grpc.HealthStub(channel).Watch(request):
        if reply.status == health_pb2.HealthCheckResponse.NOT_SERVING:
            stop.set()
            return


@asynccontextmanager
async def _channels(target: str, count: int) -> AsyncIterator[list[grpc.aio.Channel]]:
    # Callers on one connection would wait for each other in it; gRPC shares equal channels unless told not to.
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(grpc.aio.insecure_channel(target, options)) for _ in range(count)]
