"""Calls from a process of its own, by an asyncio client with many in flight; each is told with its times and status.

`python -m benchmarks.generator` reads the message from standard input and writes the answers, as JSON, to standard
output. The callers load the server all at once, each over a connection of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import grpc

from benchmarks.channel import CHANNEL
from benchmarks.processes import pinned
from gradserve.cli.load_generator.answer import Answer
from gradserve.cli.load_generator.load import ClosedLoop, Load, OpenLoop, new_event_loop
from gradserve.cli.load_generator.unary_call import UnaryCall


@dataclass(frozen=True)
class Order:
    """What to call, and how.

    Attributes:
        target: The server.
        path: The method.
        message: The request.
        timeout: Seconds for each call; None for no limit.
    """

    target: str
    path: str
    message: bytes
    timeout: float | None = None

    def answers(self, loads: Sequence[Load], seconds: float, cores: Collection[int] = ()) -> list[list[Answer]]:
        """Call for so long from a process of its own; return each caller's answers.

        Args:
            loads: Of each caller.
            seconds: How long.
            cores: Those that the process may use; without any, all.

        Raises:
            OSError: The process failed.
        """
        command = [*pinned(cores), sys.executable, "-m", "benchmarks.generator", self.target, self.path]
        command += [f"--seconds={seconds}"] + ([f"--timeout={self.timeout}"] if self.timeout else [])
        ended = subprocess.run(  # noqa: S603 - its arguments are ours
            [*command, *map(_flag, loads)], input=self.message, stdout=subprocess.PIPE, check=False
        )
        if ended.returncode:
            raise OSError(f"the generator ended with {ended.returncode}")
        return [[Answer(*answer) for answer in answers] for answers in json.loads(ended.stdout)]


def _flag(load: Load) -> str:
    return f"--callers={load.concurrency}" if isinstance(load, ClosedLoop) else f"--rate={load.rate}:{load.seed}"


def _open_loop(text: str) -> OpenLoop:
    rate, _, seed = text.partition(":")
    return OpenLoop(float(rate), int(seed))


async def _called(order: Order, load: Load, seconds: float) -> list[Answer]:
    options = [*CHANNEL, ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(order.target, options) as channel:
        await channel.channel_ready()
        return await load.answers(UnaryCall(channel.unary_unary(order.path), order.message, order.timeout), seconds)


async def _all(order: Order, loads: Sequence[Load], seconds: float) -> list[list[Answer]]:
    return await asyncio.gather(*(_called(order, load, seconds) for load in loads))


def main() -> None:
    """Read the order, carry it out, and tell what came of it."""
    parser = argparse.ArgumentParser(description="Make calls in great number; the message comes from standard input.")
    parser.add_argument("target", help="HOST:PORT")
    parser.add_argument("path", help="/package.Service/Method")
    parser.add_argument("--seconds", type=float, required=True, help="how long")
    parser.add_argument("--timeout", type=float, help="seconds for each call")
    parser.add_argument("--callers", dest="loads", type=lambda text: ClosedLoop(int(text)), action="append", default=[])
    parser.add_argument("--rate", dest="loads", type=_open_loop, action="append", help="RATE:SEED; repeatable")
    options = parser.parse_args()
    order = Order(options.target, options.path, sys.stdin.buffer.read(), options.timeout)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        json.dump(runner.run(_all(order, options.loads, options.seconds)), sys.stdout)


if __name__ == "__main__":
    main()
