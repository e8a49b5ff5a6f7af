"""More than the server can do: what is refused says when to come again, and nothing of it stays behind."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import gradserve
from gradserve import codec
from gradserve.v1 import inference_pb2, inference_pb2_grpc, model_pb2, model_pb2_grpc
from tests.support.server import RunningServer, start_server
from tests.support.tokens import TokensFile

WIDTH = 1024
ROWS = 64
"""Of one request: some 15 ms of work."""
ROOM = 8
"""How many such requests may wait."""


@pytest.fixture(scope="module")
def small_server() -> Iterator[RunningServer]:
    """A server with little room and one model that is slow."""
    with start_server("--set", f"batching.max_queue_rows={ROOM * ROWS}") as server:
        with gradserve.Client(server.target) as client:
            client.create_model("slow", gradserve.MLP(WIDTH, [WIDTH, WIDTH], WIDTH), seed=0, device="cpu")
        yield server
        assert "Traceback" not in server.log()


@asynccontextmanager
async def connection(server: RunningServer) -> AsyncIterator[grpc.aio.Channel]:
    """A connection of its own, without retries."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    async with grpc.aio.insecure_channel(server.target, options=options) as channel:
        yield channel


def request(seed: int = 0) -> inference_pb2.ForwardRequest:
    x = np.random.default_rng(seed).standard_normal((ROWS, WIDTH), np.float32)
    return inference_pb2.ForwardRequest(model="slow", input=codec.encode(x))


async def outcome(call: grpc.aio.UnaryUnaryCall) -> tuple[grpc.StatusCode, int | None]:
    """How a call ended, and the pause in milliseconds that it was told, if any."""
    code = await call.code()
    trailers = dict(await call.trailing_metadata() or ())
    pause = trailers.get("grpc-retry-pushback-ms")
    return code, None if pause is None else int(pause)


async def flood(server: RunningServer, calls: int) -> list[tuple[grpc.StatusCode, int | None]]:
    """So many calls at once from one caller."""
    async with connection(server) as channel:
        forward = inference_pb2_grpc.InferenceServiceStub(channel).Forward
        return await asyncio.gather(*(outcome(forward(request(), timeout=20)) for _ in range(calls)))


def test_what_finds_no_room_is_refused_with_the_time_to_come_again_and_the_rest_is_answered(small_server):
    met = asyncio.run(flood(small_server, 60))
    codes = Counter(code for code, _ in met)
    assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert codes[grpc.StatusCode.OK] >= ROOM
    assert all(pause is not None and pause >= 0 for code, pause in met if code is not grpc.StatusCode.OK)


def test_a_caller_who_asks_for_little_is_answered_while_another_floods_the_server(small_server):
    async def modest() -> list[grpc.StatusCode]:
        codes = []
        async with connection(small_server) as channel:
            forward = inference_pb2_grpc.InferenceServiceStub(channel).Forward
            while not flooding.done():
                codes.append((await outcome(forward(request(), timeout=20)))[0])
        return codes

    async def both() -> list[grpc.StatusCode]:
        nonlocal flooding
        flooding = asyncio.gather(*(flood(small_server, 40) for _ in range(2)))
        codes = await modest()
        await flooding
        return codes

    flooding: asyncio.Future[object]
    codes = asyncio.run(both())
    assert set(codes) == {grpc.StatusCode.OK}


@pytest.fixture
def guarded_server(tmp_path: Path) -> Iterator[tuple[RunningServer, dict[str, str]]]:
    """One that asks for tokens, and the tokens of two callers."""
    file = TokensFile(tmp_path / "tokens.toml")
    texts = {name: file.add(name) for name in ("greedy", "modest")}
    flags = ("--set", f"batching.max_queue_rows={ROOM * ROWS}", *file.flags)
    with start_server(*flags) as server:
        with gradserve.Client(server.target, token=texts["modest"]) as client:
            client.create_model("slow", gradserve.MLP(WIDTH, [WIDTH, WIDTH], WIDTH), seed=0, device="cpu")
        yield server, texts
        assert "Traceback" not in server.log()


def test_callers_of_one_connection_are_told_apart_by_their_tokens(guarded_server):
    server, texts = guarded_server
    bearers = {name: (("authorization", f"Bearer {text}"),) for name, text in texts.items()}

    async def both() -> list[grpc.StatusCode]:
        async with connection(server) as channel:
            forward = inference_pb2_grpc.InferenceServiceStub(channel).Forward
            greedy = [outcome(forward(request(), timeout=20, metadata=bearers["greedy"])) for _ in range(80)]
            flooding = asyncio.gather(*greedy)
            codes = []
            while not flooding.done():
                codes.append((await outcome(forward(request(), timeout=20, metadata=bearers["modest"])))[0])
            assert grpc.StatusCode.RESOURCE_EXHAUSTED in {code for code, _ in await flooding}
            return codes

    assert set(asyncio.run(both())) == {grpc.StatusCode.OK}


def test_health_and_management_answer_while_requests_are_refused(small_server):
    async def ask() -> list[object]:
        async with connection(small_server) as channel:
            health, models = health_pb2_grpc.HealthStub(channel), model_pb2_grpc.ModelServiceStub(channel)
            answered: list[object] = []
            while not flooding.done():
                answered.append(await health.Check(health_pb2.HealthCheckRequest(), timeout=1))
                answered.append(await models.GetModel(model_pb2.GetModelRequest(name="slow"), timeout=1))
            return answered

    async def both() -> list[object]:
        nonlocal flooding
        flooding = asyncio.ensure_future(flood(small_server, 60))
        answered = await ask()
        await flooding
        return answered

    flooding: asyncio.Future[object]
    assert asyncio.run(both())


def test_calls_that_are_given_up_or_too_late_leave_their_room_to_others(small_server):
    async def give_up() -> Counter[grpc.StatusCode]:
        async with connection(small_server) as channel:
            forward = inference_pb2_grpc.InferenceServiceStub(channel).Forward
            for _ in range(20):
                calls = [forward(request(), timeout=20) for _ in range(ROOM)]
                await asyncio.sleep(0)
                for call in calls:
                    call.cancel()
                await asyncio.gather(*(outcome(forward(request(), timeout=0.001)) for _ in range(ROOM)))
            last = await asyncio.gather(*(outcome(forward(request(), timeout=20)) for _ in range(ROOM)))
        return Counter(code for code, _ in last)

    assert asyncio.run(give_up()) == {grpc.StatusCode.OK: ROOM}


def test_requests_that_wait_for_others_are_answered_when_the_server_stops():
    with start_server("--examples", "--set", "batching.max_queue_delay=60.0") as server:

        async def stop_while_one_waits() -> tuple[grpc.StatusCode, int]:
            async with connection(server) as channel:
                x = codec.encode(np.ones((1, 1), np.float32))
                forward = inference_pb2_grpc.InferenceServiceStub(channel).Forward
                call = forward(inference_pb2.ForwardRequest(model="logistic-regression", input=x), timeout=20)
                await asyncio.sleep(0)
                # Sent behind the call, so that the server has that too when this is answered.
                await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=20)
                stopped = asyncio.create_task(asyncio.to_thread(server.stop))
                return await call.code(), await stopped

        assert asyncio.run(stop_while_one_waits()) == (grpc.StatusCode.OK, 0)
