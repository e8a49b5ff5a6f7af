"""The batcher, with a real model on a real device's thread, on the loop that a server runs."""

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

import numpy as np
import pytest
import uvloop

from gradserve.v1 import tensor_pb2
from gradserve_server.architecture import Architecture, mlp
from gradserve_server.batching import policy
from gradserve_server.batching.batcher import Batcher
from gradserve_server.batching.operation import FORWARD, Operation
from gradserve_server.batching.request import Request
from gradserve_server.config import BatchingConfig, Limits
from gradserve_server.engine import forward
from gradserve_server.engine.building import build
from gradserve_server.engine.device import Devices
from gradserve_server.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    ResourceExhausted,
    ServiceError,
)
from gradserve_server.hosted import HostedModel
from gradserve_server.metrics import Metrics
from gradserve_server.operations.arrays import Array
from gradserve_server.operations.calls import ForwardCall
from gradserve_server.operations.results import ForwardResult
from gradserve_server.servicers.tensors import read_tensor
from tests.support.sleeps import sleeps_after

ARCHITECTURE = mlp(64, (1024,), 8, "ReLU")
ROWS = 64
"""Enough of them for the device's thread: some 5 million multiply-adds."""


@dataclass(frozen=True)
class Caller:
    """Where a request comes from."""

    caller: str = "somebody"
    seconds_left: float | None = None


@dataclass
class Bench:
    """A batcher, its model, what its device has computed, and what became of its requests."""

    hosted: HostedModel
    config: BatchingConfig = field(default_factory=BatchingConfig)
    batches: list[int] = field(default_factory=list)
    ended: list[BaseException | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.batcher = Batcher(lambda: self.hosted, self.config, Metrics(), lambda _, error: self.ended.append(error))
        self.operation: Operation[ForwardCall, ForwardResult] = replace(FORWARD, compute=self._compute)

    def _compute(self, model, works):
        self.batches.append(len(works))
        return forward.compute(model, works)

    async def submit(
        self, x: Array, origin: Caller = Caller(), *, if_version: int | None = None, deterministic: bool = False
    ) -> tuple[Array, int]:
        """Have a Forward computed; the output and the version."""
        call = ForwardCall(x, deterministic=deterministic, if_version=if_version)
        request = Request("m", self.operation, lambda: call, lambda result, version: (result.output, version), origin)
        reply = self.batcher.submit(request)
        return await reply if isinstance(reply, asyncio.Future) else reply

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        """Let the device do nothing inside the block, while requests come in."""
        end, begun = threading.Event(), threading.Event()
        holding = self.hosted.device.executor.submit(lambda: (begun.set(), end.wait()))
        await asyncio.to_thread(begun.wait)
        first = asyncio.create_task(self.submit(rows()))
        await settled()
        try:
            yield
            await settled()
        finally:
            end.set()
        await asyncio.wrap_future(holding)
        await first


async def settled() -> None:
    """Let the loop do all that it can do while the device is busy."""
    for _ in range(64):
        await asyncio.sleep(0)
    # A later timer of the same loop: those that look at what has come have gone off before it.
    await asyncio.sleep(2 * policy.SECONDS_BETWEEN_LOOKS)


def rows(count: int = ROWS, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((count, 64), np.float32)


@pytest.fixture(scope="module")
def devices() -> Iterator[Devices]:
    found = Devices(threads=1)
    yield found
    found.close()


@pytest.fixture
def hosted(devices: Devices) -> HostedModel:
    return host(devices, ARCHITECTURE)


def host(devices: Devices, architecture: Architecture, dtype: str = "float32", version: int = 1) -> HostedModel:
    device = devices.resolve("cpu")
    model = build(architecture, 0, dtype, device, Limits())
    now = datetime.now(UTC)
    return HostedModel("m", version, model, device, ("Forward",), now, now, 0)


def alone(hosted: HostedModel, x: Array) -> Array:
    (result,) = forward.compute(hosted.model, [forward.prepare(hosted.model, ForwardCall(x))])
    assert isinstance(result, ForwardResult)
    return result.output


async def outcomes(awaitables: list[Awaitable[object]]) -> list[object]:
    return await asyncio.gather(*awaitables, return_exceptions=True)


def test_tiny_work_is_answered_while_the_device_is_busy(devices):
    bench = Bench(host(devices, mlp(64, (), 1, "ReLU")))

    async def body() -> int:
        end = threading.Event()
        holding = bench.hosted.device.executor.submit(end.wait)
        _, version = await bench.submit(rows(1))
        end.set()
        await asyncio.wrap_future(holding)
        return version

    assert uvloop.run(body()) == 1


def test_what_is_just_arriving_is_computed_together_where_it_costs_little_or_much(devices):
    for architecture, count in ((mlp(64, (), 1, "ReLU"), 1), (ARCHITECTURE, ROWS // 2)):
        bench = Bench(host(devices, architecture))

        async def body(bench: Bench, count: int) -> None:
            tasks = []
            for _ in range(5):
                tasks.append(asyncio.create_task(bench.submit(rows(count))))
                await asyncio.sleep(0)
            await asyncio.gather(*tasks)

        uvloop.run(body(bench, count))
        assert bench.batches == [5]


def test_between_two_batches_on_the_event_loop_others_have_their_turn(devices):
    bench = Bench(host(devices, mlp(64, (), 1, "ReLU")), BatchingConfig(max_batch_rows=1))

    async def body() -> set[int]:
        tasks = [asyncio.create_task(bench.submit(rows(1))) for _ in range(3)]
        seen = set()
        while not all(task.done() for task in tasks):
            seen.add(len(bench.batches))
            await asyncio.sleep(0)
        return seen

    assert uvloop.run(body()) >= {1, 2, 3}


def test_a_caller_who_is_alone_does_not_wait_for_others_after_some_requests(devices):
    bench = Bench(host(devices, mlp(64, (), 1, "ReLU")))

    async def body() -> object:
        for _ in range(8):
            await bench.submit(rows(1))
        call = ForwardCall(rows(1))
        return bench.batcher.submit(Request("m", bench.operation, lambda: call, lambda result, _: result, Caller()))

    assert isinstance(uvloop.run(body()), ForwardResult)


@pytest.mark.parametrize(("count", "sleeps"), [(1, False), (ROWS, True)])
def test_the_server_stays_awake_for_a_caller_who_is_alone_and_asks_for_what_the_event_loop_computes(
    hosted, count, sleeps
):
    bench = Bench(hosted, BatchingConfig(busy_poll=0.1))

    async def one_by_one() -> None:
        for _ in range(12):
            await bench.submit(rows(count))

    assert sleeps_after(one_by_one) is sleeps


def test_the_server_sleeps_between_the_requests_of_callers_who_come_together(hosted):
    bench = Bench(hosted, BatchingConfig(busy_poll=0.1))

    async def two_by_two() -> None:
        for _ in range(12):
            await asyncio.gather(bench.submit(rows(1)), bench.submit(rows(1)))

    assert sleeps_after(two_by_two)


def test_what_comes_while_the_device_is_busy_is_computed_together_and_each_gets_his_rows(hosted):
    bench = Bench(hosted)
    inputs = [rows(count, seed) for seed, count in enumerate((60, 1, 2, 50))]

    async def body() -> list[object]:
        async with bench.busy():
            tasks = [asyncio.create_task(bench.submit(x)) for x in inputs]
        return await outcomes(tasks)

    answers = uvloop.run(body())
    assert bench.batches == [1, 4]
    for x, (output, version) in zip(inputs, answers, strict=True):
        np.testing.assert_allclose(output, alone(hosted, x), rtol=1e-5, atol=1e-6)
        assert version == 1


def test_a_batch_has_no_more_rows_than_is_set(hosted):
    bench = Bench(hosted, BatchingConfig(max_batch_rows=2 * ROWS))

    async def body() -> None:
        async with bench.busy():
            tasks = [asyncio.create_task(bench.submit(rows())) for _ in range(5)]
        await asyncio.gather(*tasks)

    uvloop.run(body())
    assert bench.batches == [1, 2, 2, 1]


def test_what_must_be_computed_alone_is(hosted):
    bench = Bench(hosted)

    async def body() -> None:
        async with bench.busy():
            tasks = [asyncio.create_task(bench.submit(rows(), deterministic=True)) for _ in range(3)]
        await asyncio.gather(*tasks)

    uvloop.run(body())
    assert bench.batches == [1, 1, 1, 1]


def test_a_version_is_compared_when_the_batch_is_released_and_fails_only_who_expects_another(hosted):
    bench = Bench(hosted)

    async def body() -> list[object]:
        async with bench.busy():
            tasks = [asyncio.create_task(bench.submit(rows(), if_version=version)) for version in (1, 2, None)]
            bench.hosted = replace(hosted, version=2)
        return await outcomes(tasks)

    first, second, third = uvloop.run(body())
    assert isinstance(first, FailedPrecondition)
    assert (second[1], third[1]) == (2, 2)


def test_a_model_that_changes_its_dtype_while_requests_wait_computes_them_in_the_new_one(devices, hosted):
    bench = Bench(hosted)

    async def body() -> tuple[Array, int]:
        async with bench.busy():
            task = asyncio.create_task(bench.submit(rows()))
            bench.hosted = host(devices, ARCHITECTURE, "float64", version=2)
        return await task

    output, version = uvloop.run(body())
    assert (output.dtype, version) == (np.float64, 2)


def test_a_caller_who_goes_away_while_he_waits_is_never_computed(hosted):
    bench = Bench(hosted)

    async def body() -> list[object]:
        async with bench.busy():
            tasks = [asyncio.create_task(bench.submit(rows())) for _ in range(3)]
            await settled()
            tasks[0].cancel()
        return await outcomes(tasks)

    assert isinstance(uvloop.run(body())[0], asyncio.CancelledError)
    assert bench.batches == [1, 2]
    assert [type(error) for error in bench.ended] == [asyncio.CancelledError, *[type(None)] * 3]


def test_a_caller_who_goes_away_before_his_request_is_read_is_told_of_once(hosted):
    bench = Bench(hosted)

    async def body() -> list[object]:
        task = asyncio.create_task(bench.submit(rows()))
        await asyncio.sleep(0)
        task.cancel()
        answers = await outcomes([task])
        await settled()
        return answers

    assert isinstance(uvloop.run(body())[0], asyncio.CancelledError)
    assert bench.batches == []
    assert [type(error) for error in bench.ended] == [asyncio.CancelledError]


def test_a_caller_who_goes_away_once_his_batch_waits_for_the_device_is_not_computed(hosted):
    bench = Bench(hosted)

    async def body() -> None:
        end = threading.Event()
        holding = hosted.device.executor.submit(end.wait)
        tasks = [asyncio.create_task(bench.submit(rows())) for _ in range(2)]
        await settled()
        tasks[0].cancel()
        await settled()
        end.set()
        await asyncio.wrap_future(holding)
        await tasks[1]

    uvloop.run(body())
    assert bench.batches == [1]


def test_a_request_whose_time_is_over_before_the_device_is_free_is_never_computed(hosted):
    bench = Bench(hosted)

    async def body() -> list[object]:
        async with bench.busy():
            task = asyncio.create_task(bench.submit(rows(), Caller(seconds_left=0.001)))
            await settled()
            await asyncio.sleep(0.002)
        return await outcomes([task])

    assert isinstance(uvloop.run(body())[0], DeadlineExceeded)
    assert bench.batches == [1]


def test_a_request_without_a_deadline_waits_no_longer_than_is_set(hosted):
    bench = Bench(hosted, BatchingConfig(max_deadline=0.001))

    async def body() -> list[object]:
        end = threading.Event()
        holding = hosted.device.executor.submit(end.wait)
        task = asyncio.create_task(bench.submit(rows()))
        await settled()
        await asyncio.sleep(0.002)
        end.set()
        await asyncio.wrap_future(holding)
        return await outcomes([task])

    assert isinstance(uvloop.run(body())[0], DeadlineExceeded)
    assert bench.batches == []


@pytest.mark.parametrize("seconds_left", [0.0, -1.0])
def test_a_request_that_comes_too_late_is_refused(hosted, seconds_left):
    for x in (rows(), rows(1)):
        with pytest.raises(DeadlineExceeded):
            uvloop.run(Bench(hosted).submit(x, Caller(seconds_left=seconds_left)))


def test_a_full_queue_refuses_and_says_when_to_come_again(hosted):
    bench = Bench(hosted, BatchingConfig(max_queue_rows=2 * ROWS))

    async def body() -> list[object]:
        async with bench.busy():
            tasks = [asyncio.create_task(bench.submit(rows())) for _ in range(4)]
        return await outcomes(tasks)

    refused = [answer for answer in uvloop.run(body()) if isinstance(answer, ResourceExhausted)]
    assert [(refusal.reason, refusal.retry_after is not None) for refusal in refused] == [("QUEUE_FULL", True)] * 2


def test_a_full_queue_makes_room_for_a_caller_who_asks_for_little(hosted):
    bench = Bench(hosted, BatchingConfig(max_queue_rows=4 * ROWS))

    async def body() -> list[object]:
        async with bench.busy():
            greedy = [asyncio.create_task(bench.submit(rows(), Caller("greedy"))) for _ in range(4)]
            await settled()
            modest = asyncio.create_task(bench.submit(rows(), Caller("modest")))
        return await outcomes([*greedy, modest])

    refused = [isinstance(answer, ResourceExhausted) for answer in uvloop.run(body())]
    assert refused == [False, False, False, True, False]


def test_a_request_that_would_wait_beyond_its_deadline_is_refused_at_once(hosted):
    bench = Bench(hosted)

    async def body() -> list[object]:
        await bench.submit(rows())
        async with bench.busy():
            waiting = [asyncio.create_task(bench.submit(rows(256))) for _ in range(20)]
            await settled()
            late = await outcomes([bench.submit(rows(), Caller(seconds_left=1e-4))])
            for task in waiting:
                task.cancel()
        return late

    (refusal,) = uvloop.run(body())
    assert isinstance(refusal, ResourceExhausted)
    assert (refusal.reason, refusal.retry_after is not None) == ("DEADLINE_TOO_NEAR", True)


def test_what_was_asked_is_let_go_of_with_the_refusal(hosted):
    bench = Bench(hosted, BatchingConfig(max_queue_rows=ROWS))

    async def body() -> weakref.ref[Array]:
        async with bench.busy():
            waiting = asyncio.create_task(bench.submit(rows()))
            await settled()
            x = rows()
            asked = weakref.ref(x)
            read = partial(ForwardCall, x)
            refused = bench.batcher.submit(Request("m", bench.operation, read, lambda *_: None, Caller()))
            await settled()
            assert isinstance(refused.exception(), ResourceExhausted)
            del x, read, refused
        await waiting
        return asked

    gc.collect()
    gc.disable()
    try:
        assert uvloop.run(body())() is None
    finally:
        gc.enable()


def test_what_could_not_be_read_is_let_go_of_with_the_refusal(hosted):
    bench = Bench(hosted)

    def read(data: bytes) -> ForwardCall:
        message = tensor_pb2.Tensor(dtype=tensor_pb2.DATA_TYPE_FLOAT32, shape=[64], data=data)
        return ForwardCall(read_tensor(message, "input"))

    async def body() -> weakref.ref[object]:
        own = partial(read, b"too short")
        asked = weakref.ref(own)
        refused = bench.batcher.submit(Request("m", bench.operation, own, lambda *_: None, Caller()))
        await settled()
        assert isinstance(refused.exception(), InvalidArgument)
        del own, refused
        return asked

    gc.collect()
    gc.disable()
    try:
        assert uvloop.run(body())() is None
    finally:
        gc.enable()


def test_a_model_that_was_slow_for_a_while_is_not_taken_for_slow_for_ever(hosted):
    bench = Bench(hosted)

    async def body() -> int:
        async with bench.busy():
            await asyncio.sleep(0.2)
        for _ in range(30):
            _, version = await bench.submit(rows(), Caller(seconds_left=0.15))
        return version

    assert uvloop.run(body()) == 1


def test_with_a_delay_a_request_waits_for_others_until_the_batch_is_full(hosted):
    bench = Bench(hosted, BatchingConfig(max_queue_delay=60.0, max_batch_rows=3 * ROWS))

    async def body() -> None:
        tasks = [asyncio.create_task(bench.submit(rows())) for _ in range(2)]
        await settled()
        assert bench.batches == []
        await asyncio.gather(*tasks, bench.submit(rows()))

    uvloop.run(body())
    assert bench.batches == [3]


def test_with_a_delay_a_request_alone_is_computed_when_it_is_over(hosted):
    bench = Bench(hosted, BatchingConfig(max_queue_delay=0.001))
    uvloop.run(bench.submit(rows()))
    assert bench.batches == [1]


def test_a_request_that_waits_for_others_is_computed_when_the_server_stops(hosted):
    bench = Bench(hosted, BatchingConfig(max_queue_delay=60.0))

    async def body() -> None:
        task = asyncio.create_task(bench.submit(rows()))
        await settled()
        assert bench.batches == []
        bench.batcher.drain()
        await task
        await bench.submit(rows())

    uvloop.run(body())
    assert bench.batches == [1, 1]


def test_a_bug_that_one_request_meets_fails_that_one_alone(hosted):
    bench = Bench(hosted)
    compute = bench.operation.compute

    def failing(model, works):
        if any(work.rows == 13 for work in works):
            raise ZeroDivisionError
        return compute(model, works)

    bench.operation = replace(bench.operation, compute=failing)

    async def body() -> list[object]:
        async with bench.busy():
            tasks = [asyncio.create_task(bench.submit(rows(count))) for count in (50, 13, 60)]
        return await outcomes(tasks)

    kinds = [type(answer) for answer in uvloop.run(body())]
    assert kinds == [tuple, ZeroDivisionError, tuple]


def test_a_reply_that_cannot_be_built_fails_that_request_alone(hosted):
    bench = Bench(hosted)

    def reply(result: ForwardResult, version: int) -> None:
        raise ServiceError("no")

    async def body() -> list[object]:
        async with bench.busy():
            bad = bench.batcher.submit(Request("m", bench.operation, lambda: ForwardCall(rows()), reply, Caller()))
            good = asyncio.create_task(bench.submit(rows()))
        return await outcomes([bad, good])

    bad, good = uvloop.run(body())
    assert isinstance(bad, ServiceError)
    assert isinstance(good, tuple)


def test_a_request_that_the_model_refuses_never_waits(hosted):
    bench = Bench(hosted)
    with pytest.raises(ServiceError, match="refuses an input of shape"):
        uvloop.run(bench.submit(np.ones((4, 5), np.float32)))
    assert bench.batches == []
