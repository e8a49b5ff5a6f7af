"""Messages over bidirectional streams, from a process of its own, with so many in flight on each stream.

`python -m benchmarks.stream_client` reads the message from standard input; it writes what came of it, as JSON, to
standard output.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import subprocess
import sys
import time
from dataclasses import dataclass

import grpc

from benchmarks.channel import CHANNEL
from gradserve.cli.load_generator.load import new_event_loop


@dataclass(frozen=True)
class Streamed:
    """What came of it.

    Attributes:
        messages: How many were answered.
        seconds: From the first to the last answer.
        reply: The last.
    """

    messages: int
    seconds: float
    reply: bytes

    @property
    def messages_per_second(self) -> float:
        """How many were answered each second."""
        return self.messages / self.seconds


@dataclass(frozen=True)
class StreamOrder:
    """What to send.

    Attributes:
        target: The server.
        path: The method.
        message: The request, the same each time.
        streams: How many streams, over one connection.
        in_flight: How many requests each keeps in flight.
    """

    target: str
    path: str
    message: bytes
    streams: int
    in_flight: int

    def run(self, seconds: float) -> Streamed:
        """Send for so long from a process of its own.

        Raises:
            OSError: The process failed.
        """
        numbers = map(str, (self.streams, self.in_flight, seconds))
        command = [sys.executable, "-m", "benchmarks.stream_client", self.target, self.path, *numbers]
        ended = subprocess.run(command, input=self.message, stdout=subprocess.PIPE, check=False)  # noqa: S603 - ours
        if ended.returncode:
            raise OSError(f"the client of streams ended with {ended.returncode}")
        told = json.loads(ended.stdout)
        return Streamed(told["messages"], told["seconds"], base64.b64decode(told["reply"]))


async def _stream(order: StreamOrder, channel: grpc.aio.Channel, end: float) -> tuple[int, bytes]:
    method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(order.path)
    call = method()
    for _ in range(order.in_flight):
        await call.write(order.message)
    answered, waiting, reply = 0, order.in_flight, b""
    while waiting:
        found = await call.read()
        if not isinstance(found, bytes):
            raise OSError("the stream ended before its answers came")
        reply = found
        answered += 1
        if time.perf_counter() < end:
            await call.write(order.message)
        else:
            waiting -= 1
    await call.done_writing()
    return answered, reply


async def _all(order: StreamOrder, seconds: float) -> Streamed:
    async with grpc.aio.insecure_channel(order.target, CHANNEL) as channel:
        await channel.channel_ready()
        start = time.perf_counter()
        found = await asyncio.gather(*(_stream(order, channel, start + seconds) for _ in range(order.streams)))
        taken = time.perf_counter() - start
    return Streamed(sum(answered for answered, _ in found), taken, found[-1][1])


def main() -> None:
    """Read the order, carry it out, and tell what came of it."""
    parser = argparse.ArgumentParser(description="Send messages over streams; the message comes from standard input.")
    parser.add_argument("target", help="HOST:PORT")
    parser.add_argument("path", help="/package.Service/Method")
    parser.add_argument("streams", type=int, help="how many streams")
    parser.add_argument("in_flight", type=int, help="requests in flight on each")
    parser.add_argument("seconds", type=float, help="how long")
    options = parser.parse_args()
    message = sys.stdin.buffer.read()
    order = StreamOrder(options.target, options.path, message, options.streams, options.in_flight)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        streamed = runner.run(_all(order, options.seconds))
    reply = base64.b64encode(streamed.reply).decode()
    json.dump({"messages": streamed.messages, "seconds": streamed.seconds, "reply": reply}, sys.stdout)


if __name__ == "__main__":
    main()
