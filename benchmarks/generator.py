"""Calls from a process of its own, by an asyncio client with many in flight; each is told with its times and status.

`python -m benchmarks.generator` reads the message from standard input and writes the answers, as JSON, to standard
output. The callers load the server all at once, each over a connection of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc

from benchmarks.channel import CHANNEL
from benchmarks.processes import pinned
from gradserve.cli.load_generator.answer import Answer, Send
from gradserve.cli.load_generator.load import ClosedLoop, OpenLoop, call_at, new_event_loop
from gradserve.cli.load_generator.unary_call import UnaryCall


@dataclass(frozen=True)
class Steps:
    """An open loop whose rate changes.

    Attributes:
        steps: Each rate, in calls a second, and for how many seconds it holds.
        seed: What the times are drawn from.
    """

    steps: tuple[tuple[float, float], ...]
    seed: int = 0

    def arrivals(self) -> list[float]:
        """When to call, from the start."""
        starts = itertools.accumulate((seconds for _, seconds in self.steps), initial=0.0)
        return [
            start + when
            for start, (rate, seconds) in zip(starts, self.steps, strict=False)
            for when in OpenLoop(rate, self.seed).arrivals(seconds)
        ]

    async def answers(self, send: Send, _seconds: float) -> list[Answer]:
        """Call, and return how each call ended."""
        return await call_at(send, self.arrivals())


Load: TypeAlias = ClosedLoop | Steps


@dataclass(frozen=True)
class Run:
    """What came of an order.

    Attributes:
        start: When the calls began, as `time.monotonic()` has it in every process; all their times count from it.
        callers: The answers of each caller.
    """

    start: float
    callers: list[list[Answer]]

    @property
    def answers(self) -> list[Answer]:
        """Those of all callers."""
        return [answer for answers in self.callers for answer in answers]


@dataclass(frozen=True)
class Order:
    """What to call.

    Attributes:
        target: The server.
        path: The method.
        message: The request.
        timeout: Seconds for each call; None for no limit.
        cores: Those that the generator may use; without any, all.
    """

    target: str
    path: str
    message: bytes
    timeout: float | None = None
    cores: Collection[int] = ()

    def closed(self, concurrency: int, seconds: float) -> Run:
        """Call in a closed loop."""
        return self._run([f"--callers={concurrency}"], seconds)

    def open(self, rate: float, seconds: float, seed: int = 0) -> Run:
        """Call in an open loop."""
        return self.steps(Steps(((rate, seconds),), seed))

    def steps(self, *callers: Steps) -> Run:
        """Call in open loops, one for each caller."""
        flags = [
            f"--steps={','.join(f'{rate}x{seconds}' for rate, seconds in caller.steps)}:{caller.seed}"
            for caller in callers
        ]
        return self._run(flags, 0.0)

    def _run(self, loads: Sequence[str], seconds: float) -> Run:
        command = [*pinned(self.cores), sys.executable, "-m", "benchmarks.generator", self.target, self.path]
        command += [f"--seconds={seconds}"] + ([f"--timeout={self.timeout}"] if self.timeout else [])
        ended = subprocess.run(  # noqa: S603 - its arguments are ours
            [*command, *loads], input=self.message, stdout=subprocess.PIPE, check=False
        )
        if ended.returncode:
            raise OSError(f"the generator ended with {ended.returncode}")
        told: dict[str, Any] = json.loads(ended.stdout)
        return Run(told["start"], [[Answer(*answer) for answer in answers] for answers in told["callers"]])


def _steps(text: str) -> Steps:
    steps, _, seed = text.partition(":")
    pairs = (step.split("x") for step in steps.split(","))
    return Steps(tuple((float(rate), float(seconds)) for rate, seconds in pairs), int(seed))


async def _called(order: Order, load: Load, seconds: float, ready: asyncio.Barrier) -> list[Answer]:
    options = [*CHANNEL, ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(order.target, options) as channel:
        await channel.channel_ready()
        await ready.wait()
        return await load.answers(UnaryCall(channel.unary_unary(order.path), order.message, order.timeout), seconds)


async def _all(order: Order, loads: Sequence[Load], seconds: float) -> dict[str, Any]:
    ready = asyncio.Barrier(len(loads) + 1)
    async with asyncio.TaskGroup() as callers:
        tasks = [callers.create_task(_called(order, load, seconds, ready)) for load in loads]
        await ready.wait()
        start = time.monotonic()
    return {"start": start, "callers": [task.result() for task in tasks]}


def main() -> None:
    """Read the order, carry it out, and tell what came of it."""
    parser = argparse.ArgumentParser(description="Make calls in great number; the message comes from standard input.")
    parser.add_argument("target", help="HOST:PORT")
    parser.add_argument("path", help="/package.Service/Method")
    parser.add_argument("--seconds", type=float, default=0.0, help="how long closed loops last")
    parser.add_argument("--timeout", type=float, help="seconds for each call")
    parser.add_argument("--callers", dest="loads", type=lambda text: ClosedLoop(int(text)), action="append", default=[])
    parser.add_argument("--steps", dest="loads", type=_steps, action="append", help="RATExSECONDS,...:SEED")
    options = parser.parse_args()
    order = Order(options.target, options.path, sys.stdin.buffer.read(), options.timeout)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        json.dump(runner.run(_all(order, options.loads, options.seconds)), sys.stdout)


if __name__ == "__main__":
    main()
