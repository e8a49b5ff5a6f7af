"""What an AsyncClient does beyond what both clients do: its tasks, its event loop, and its end."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Coroutine
from concurrent import futures
from typing import Any

import numpy as np
import pytest

import gradserve
from tests.client.scripted_server import scripted_server
from tests.support.metrics import Scrape, scrape_until
from tests.support.server import RunningServer, start_server

HEAVY = gradserve.MLP(1024, [1024, 1024, 1024], 1)
ROWS = np.ones((2048, 1024), np.float32)
"""With HEAVY some hundred milliseconds of work."""
LARGE = {"layers.0.weight": np.zeros(2**13, np.float32)}
X = np.ones((4, 50), np.float32)

Calling = Callable[[gradserve.AsyncClient], Coroutine[Any, Any, Any]]


def test_uploads_that_are_refused_while_they_are_sent_are_told_why(server: RunningServer):
    async def run() -> set[type]:
        async with gradserve.AsyncClient(server.target, timeout=60) as client:
            model = await client.create_model("refused", gradserve.MLP(50, [30, 20], 3))
            weights = dict(await model.state_dict())

            async def refused() -> set[type]:
                loads = [await _error_of(model.load_state_dict(weights, if_version=99)) for _ in range(25)]
                return {type(error) for error in loads}

            return set().union(*await asyncio.gather(*(refused() for _ in range(8))))

    assert asyncio.run(run()) == {gradserve.AbortedError}


def test_streams_that_the_server_ends_while_they_send_are_told_that_it_stops():
    async def run(server: RunningServer) -> set[type]:
        async with gradserve.AsyncClient(server.target, timeout=60) as client:
            model = await client.create_model("streamed", gradserve.MLP(50, [30, 20], 3))
            answered = asyncio.Event()

            async def until_it_stops() -> type:
                async with model.stream() as stream:
                    while True:
                        try:
                            await (await stream.forward(X))
                        except gradserve.Error as error:
                            return type(error)
                        answered.set()

            streams = [asyncio.create_task(until_it_stops()) for _ in range(32)]
            await answered.wait()
            await asyncio.to_thread(server.stop)
            return set(await asyncio.gather(*streams))

    with start_server() as server:
        assert asyncio.run(run(server)) == {gradserve.UnavailableError}


async def _error_of(call: Coroutine[Any, Any, Any]) -> BaseException | None:
    (error,) = await asyncio.gather(call, return_exceptions=True)
    return error if isinstance(error, BaseException) else None


class TestCancelledTasks:
    @pytest.mark.parametrize(
        "call",
        [
            lambda client: client.server_info(),
            lambda client: client.model("m").state_dict(),
            lambda client: client.model("m").load_state_dict(LARGE),
        ],
        ids=["a call", "a download", "an upload"],
    )
    def test_the_end_of_a_task_ends_its_call_on_the_server(self, call: Calling):
        async def run(target: str) -> None:
            async with gradserve.AsyncClient(target, timeout=None) as client:
                task = asyncio.create_task(call(client))
                assert await asyncio.to_thread(script.waiting.wait, 30)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert await asyncio.to_thread(script.ended.wait, 30)

        with scripted_server() as (target, script):
            asyncio.run(run(target))

    def test_what_is_cancelled_in_the_queue_is_not_computed(self, server: RunningServer):
        async def run() -> None:
            async with gradserve.AsyncClient(server.target, timeout=60) as client:
                model = await client.create_model("cancelled", HEAVY)
                tasks = [asyncio.create_task(model(ROWS)) for _ in range(8)]
                await asyncio.to_thread(scrape_until, server.http, queues)
                for task in tasks:
                    task.cancel()
                ended = await asyncio.gather(*tasks, return_exceptions=True)
                assert asyncio.CancelledError in {type(end) for end in ended}
                await asyncio.to_thread(scrape_until, server.http, is_empty)
                await client.delete_model("cancelled")

        def queues(found: Scrape) -> bool:
            return (found.value("gradserve_queue_requests", model="cancelled") or 0) > 0

        def is_empty(found: Scrape) -> bool:
            cancelled = found.by("outcome", "gradserve_requests_total", model="cancelled").get("cancelled", 0)
            return cancelled > 0 and found.value("gradserve_queue_requests", model="cancelled") == 0

        asyncio.run(run())

    def test_an_answer_that_nobody_awaits_any_more_makes_room(self, target: str):
        async def run() -> int:
            async with (
                gradserve.AsyncClient(target) as client,
                client.model("mlp-50-30-20-3").stream(max_in_flight=1) as stream,
            ):
                task = asyncio.create_task(awaited(await stream.forward(X)))
                await asyncio.sleep(0)
                task.cancel()
                return len(await (await stream.forward(X)))

        async def awaited(answer: gradserve.AsyncFuture[np.ndarray]) -> np.ndarray:
            return await answer

        assert asyncio.run(run()) == 4

    def test_a_timeout_of_asyncio_is_one(self):
        async def run(target: str) -> None:
            async with gradserve.AsyncClient(target) as client, asyncio.timeout(0.05):
                await client.server_info()

        with scripted_server() as (target, _), pytest.raises(TimeoutError) as caught:
            asyncio.run(run(target))
        assert not isinstance(caught.value, gradserve.Error)


class TestEventLoop:
    def test_a_client_is_not_made_where_no_event_loop_runs(self, target: str):
        with pytest.raises(RuntimeError, match="make and use an AsyncClient inside of a coroutine"):
            gradserve.AsyncClient(target)

    def test_a_client_is_not_used_on_another_event_loop(self, target: str):
        async def make() -> gradserve.AsyncClient:
            return gradserve.AsyncClient(target)

        with asyncio.Runner() as runner, futures.ThreadPoolExecutor(1) as pool:
            client = runner.run(make())
            with pytest.raises(RuntimeError, match="belongs to the event loop that it was made on: make one on each"):
                pool.submit(asyncio.run, client.server_info()).result()
            runner.run(client.close())

    def test_it_goes_on_while_calls_wait(self, target: str):
        async def run() -> list[np.ndarray]:
            async with gradserve.AsyncClient(target) as client:
                model = client.model("mlp-50-30-20-3")
                return await asyncio.gather(*(model(X * number, deterministic=True) for number in range(64)))

        with gradserve.Client(target) as client:
            model = client.model("mlp-50-30-20-3")
            expected = [model(X * number, deterministic=True) for number in range(64)]
        assert all(map(np.array_equal, asyncio.run(run()), expected))


PROGRAM = """
import asyncio, gradserve

async def main():
    client = gradserve.AsyncClient({target!r})
    model = client.model("mlp-50-30-20-3")
    x = [[1.0] * 50]
    await model(x)
{forgotten}

asyncio.run(main())
"""


class TestForgotten:
    @pytest.mark.parametrize(
        "forgotten",
        [
            "    pass",
            "    stream = model.stream(); await (await stream.forward(x))",
            "    stream = model.stream(); await stream.forward([[1.0]]); await stream.close()",
            "    stream = model.stream(); future = await stream.forward(x, timeout=1e-9)",
            "    task = asyncio.create_task(model(x)); await asyncio.sleep(0)",
            "    task = asyncio.create_task(model.state_dict()); await asyncio.sleep(0)",
            "    outputs = model.stream().map([x] * 100); await anext(outputs)",
        ],
        ids=["close", "the stream", "a failed answer", "a late answer", "a call", "a download", "a map"],
    )
    def test_nothing_is_printed_where_a_program_forgets(self, target: str, forgotten: str):
        assert self.printed(target, forgotten) == ""

    def test_python_says_that_a_call_was_not_awaited_and_nothing_else_is_printed(self, target: str):
        printed = self.printed(target, "    model.forward(x)")
        assert "RuntimeWarning: coroutine 'Inference.forward' was never awaited" in printed
        assert "Traceback" not in printed
        assert "Task" not in printed

    @staticmethod
    def printed(target: str, forgotten: str) -> str:
        """What Python prints, in its mode for developers, of a program that does not end what it began."""
        program = PROGRAM.format(target=target, forgotten=forgotten)
        command = [sys.executable, "-X", "dev", "-c", program]
        ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        return ended.stdout + ended.stderr
