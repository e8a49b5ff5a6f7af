"""Calls that wait behind a large one until they are cancelled or their time is over: none of them is computed."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import grpc

from benchmarks.calls import forward
from benchmarks.channel import CHANNEL
from benchmarks.checks import Check
from benchmarks.gradserve_process import GradserveProcess, gradserve
from benchmarks.nets import HEAVY
from benchmarks.scrape import Scrape, settled
from gradserve.cli.load_generator.unary_call import UnaryCall

# So many rows take seconds, and more room than a server gives by itself.
_BLOCKING_ROWS = 2**17
_ROOM = "limits.max_elements=536870912"
_CONNECTIONS = 10
_WAVE = 2000
_CHUNK = 100
_TIMEOUT = 1.0
_FIRST_SECONDS = 1.5
_SHARE = 0.25

Told: TypeAlias = Callable[[str], None]
Method: TypeAlias = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]


@dataclass(frozen=True)
class Waiting:
    """A server whose device can be kept busy, and calls that wait for it.

    Attributes:
        server: The server.
        methods: Forward, over each connection.
        blocker: A message that keeps the device busy for seconds.
        waiter: One that does not.
    """

    server: GradserveProcess
    methods: list[Method]
    blocker: bytes
    waiter: bytes

    async def expire(self, calls: int) -> Counter[str]:
        """Have so many calls wait for longer than they may; count how they ended.

        All wait for the first call of all: a server that knows how long calls take refuses what would be too late.
        """
        async with self._blocked():
            tasks = []
            for number in range(calls):
                call = UnaryCall(self._method(number), self.waiter, _TIMEOUT)
                tasks.append(asyncio.create_task(call()))
                if not number % _CHUNK:
                    await asyncio.sleep(0)
            return Counter(ending.code for ending in await asyncio.gather(*tasks))

    async def cancel(self, calls: int, told: Told) -> int:
        """Have so many calls wait, and cancel them; return how many blockers that took."""
        done = blockers = 0
        seconds = _FIRST_SECONDS
        while done < calls:
            start = time.monotonic()
            async with self._blocked():
                # None starts so late that it might see the device free.
                while done < calls and time.monotonic() - start < seconds:
                    done += await self._cancel_wave(min(_WAVE, calls - done))
                    told(f"{done:,} of {calls:,} cancelled")
            blockers += 1
            seconds = _SHARE * (time.monotonic() - start)
        return blockers

    def computed_rows(self) -> int:
        """How many rows the batches had that the server has computed."""
        return self._scrape("gradserve_batch_rows_sum")

    def waiting(self) -> int:
        """How many calls are in the server's queue."""
        return self._scrape("gradserve_queue_requests")

    def in_flight(self) -> int:
        """How many calls the server has not ended."""
        return self._scrape("gradserve_requests_in_flight")

    @asynccontextmanager
    async def _blocked(self) -> AsyncIterator[None]:
        """Keep the device busy; then wait until it is free.

        Raises:
            OSError: It was free before the block ended.
        """
        blocker = asyncio.ensure_future(self._method(0)(self.blocker))
        await asyncio.to_thread(settled, self.in_flight, 1)
        yield
        if blocker.done():
            # If it failed, that says why.
            blocker.result()
            raise OSError("the device was not busy for as long as calls waited for it")
        await blocker

    async def _cancel_wave(self, size: int) -> int:
        calls = [self._method(number)(self.waiter) for number in range(size)]
        await asyncio.to_thread(settled, self.waiting, size)
        for call in calls:
            call.cancel()
        await asyncio.to_thread(settled, self.waiting, 0)
        return size

    def _method(self, number: int) -> Method:
        return self.methods[number % len(self.methods)]

    def _scrape(self, name: str) -> int:
        return Scrape.of(self.server.metrics).sum(name)


def checks(cancels: int, deadlines: int, checkout: Path, told: Told) -> list[Check]:
    """Have so many calls expire and so many be cancelled while they wait."""
    with gradserve("--set", _ROOM, checkout=checkout) as server:
        return asyncio.run(_checks(server, cancels, deadlines, told))


async def _checks(server: GradserveProcess, cancels: int, deadlines: int, told: Told) -> list[Check]:
    call = forward(HEAVY)
    options = [*CHANNEL, ("grpc.use_local_subchannel_pool", 1)]
    async with AsyncExitStack() as stack:
        methods: list[Method] = []
        for _ in range(_CONNECTIONS):
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.target, options))
            methods.append(channel.unary_unary(call.path))
        waiting = Waiting(server, methods, forward(HEAVY, _BLOCKING_ROWS).message, call.message)
        told(f"{deadlines:,} deadlines")
        codes = await waiting.expire(deadlines)
        after_deadlines = waiting.computed_rows()
        blockers = await waiting.cancel(cancels, told)
        computed = waiting.computed_rows() - after_deadlines - blockers * _BLOCKING_ROWS
        return [
            Check.equal(f"{deadlines:,} deadlines: statuses", dict(codes), {"DEADLINE_EXCEEDED": deadlines}),
            Check.equal("rows computed for them", after_deadlines - _BLOCKING_ROWS, 0),
            Check.equal(f"{cancels:,} cancels: rows computed for them", computed, 0),
            Check.equal("calls left in the queue", settled(waiting.waiting, 0), 0),
            Check.equal("calls left in flight", settled(waiting.in_flight, 0), 0),
        ]
