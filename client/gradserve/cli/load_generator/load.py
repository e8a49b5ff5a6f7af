"""The two kinds of load: a closed loop, whose callers wait for each answer, and an open one, which keeps to a clock."""

from __future__ import annotations

import asyncio
import random
import selectors
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from gradserve.cli.load_generator.answer import Answer, Send

__all__ = ["ClosedLoop", "Load", "OpenLoop", "call_at", "new_event_loop"]


@dataclass(frozen=True)
class ClosedLoop:
    """Callers that each call again once their last call has ended.

    Attributes:
        concurrency: How many; as many calls are in flight.
    """

    concurrency: int

    def __str__(self) -> str:
        return "1 caller" if self.concurrency == 1 else f"{self.concurrency} callers"

    async def answers(self, send: Send, seconds: float) -> list[Answer]:
        """Call for so long and return how each call ended, in the order in which they did."""
        start = time.perf_counter()
        answers: list[Answer] = []

        async def caller() -> None:
            while (sent := time.perf_counter() - start) < seconds:
                ending = await send()
                answers.append(Answer(sent, sent, time.perf_counter() - start, *ending))

        async with asyncio.TaskGroup() as callers:
            for _ in range(self.concurrency):
                callers.create_task(caller())
        return answers


@dataclass(frozen=True)
class OpenLoop:
    """Calls at times that are fixed before, whether earlier calls have ended or not: a Poisson process.

    Attributes:
        rate: Calls a second, on average.
        seed: What the times are drawn from.
    """

    rate: float
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.rate:g} calls/s"

    def arrivals(self, seconds: float) -> list[float]:
        """Return when to call within so many seconds, from the start."""
        draw = random.Random(self.seed)  # noqa: S311 - nothing secret is drawn
        times: list[float] = []
        now = draw.expovariate(self.rate)
        while now < seconds:
            times.append(now)
            now += draw.expovariate(self.rate)
        return times

    async def answers(self, send: Send, seconds: float) -> list[Answer]:
        """Call for so long and return how each call ended, in the order in which they did."""
        return await call_at(send, self.arrivals(seconds))


Load: TypeAlias = ClosedLoop | OpenLoop


async def call_at(send: Send, times: Sequence[float]) -> list[Answer]:
    """Call at these times, whether earlier calls have ended or not.

    Args:
        send: Makes one call.
        times: In seconds from now, ascending.

    Returns:
        How each call ended, in the order in which they did.
    """
    start = time.perf_counter()
    answers: list[Answer] = []

    async def call(intended: float) -> None:
        sent = time.perf_counter() - start
        ending = await send()
        answers.append(Answer(intended, sent, time.perf_counter() - start, *ending))

    async with asyncio.TaskGroup() as calls:
        for intended in times:
            # Where it is late, this still lets the answers in.
            await asyncio.sleep(max(0.0, intended - (time.perf_counter() - start)))
            calls.create_task(call(intended))
    return answers


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop that wakes up to some 0.1 ms late; asyncio's own counts in whole milliseconds."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())
