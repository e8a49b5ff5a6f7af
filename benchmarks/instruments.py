"""What counting and guarding cost: processor time of a server for each call, with and without, interleaved.

Run `python -m benchmarks.instruments`; it needs Linux.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import grpc
import numpy as np

from benchmarks.echo_servers import KINDS, METHOD
from benchmarks.processes import ServerProcess, running
from gradserve.v1 import inference_pb2
from gradserve_server.config import make_token
from gradserve_server.facts import BatchFact, RequestFact
from gradserve_server.metrics import Metrics
from gradserve_server.operations.results import ForwardResult

_REQUEST = inference_pb2.ForwardRequest(model="model").SerializeToString()
_CALLERS = 8


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="how often each server is asked (default: 40)")
    parser.add_argument("--calls", type=int, default=2000, help="calls a round (default: 2000)")
    parser.add_argument("--json", action="store_true", help="print every round")
    options = parser.parse_args()
    token = make_token("caller", ["forward"], ["*"])
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(token.line)
        file.flush()
        with running("benchmarks.echo_servers", file.name) as server:
            rounds = asyncio.run(_rounds(server, token.text, options.rounds, options.calls))
    if options.json:
        print(json.dumps(rounds))
        return
    for kind, base in zip(KINDS, ("bare", *KINDS), strict=False):
        costs, median = rounds[kind], statistics.median(rounds[base])
        extra = statistics.median(cost - other for cost, other in zip(costs, rounds[base], strict=True))
        quarters = [f"{cost:.0f}" for cost in statistics.quantiles(costs)]
        print(f"{kind}: {'/'.join(quarters)} us a call; {extra:+.1f} us beside {base}, {extra / median:+.1%}")
    print(f"a request to a model and its batch: {_request_cost():.1f} us more")


async def _rounds(server: ServerProcess, token: str, rounds: int, calls: int) -> dict[str, list[float]]:
    """Microseconds of processor time for each call, by kind; what is slow at first is not timed."""
    costs: dict[str, list[float]] = {kind: [] for kind in KINDS}
    channels = [grpc.aio.insecure_channel(target) for target in server.target.split(";")]
    # Only where it is asked for: to send it and to read it is a part of what a guard costs.
    metadata = {"guarded": (("authorization", f"Bearer {token}"),)}
    callers = {
        kind: _Caller(channel.unary_unary(METHOD), metadata.get(kind))
        for kind, channel in zip(KINDS, channels, strict=True)
    }
    for turn in range(-2, rounds):
        # Each kind has each place equally often.
        first = turn % len(KINDS)
        for kind in (*KINDS[first:], *KINDS[:first]):
            before = _processor_seconds(server.pid)
            await asyncio.gather(*(callers[kind].call(calls // _CALLERS) for _ in range(_CALLERS)))
            if turn >= 0:
                costs[kind].append((_processor_seconds(server.pid) - before) / calls * 1e6)
    for channel in channels:
        await channel.close()
    return costs


class _Caller(NamedTuple):
    """How one server is called."""

    method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
    metadata: tuple[tuple[str, str], ...] | None

    async def call(self, calls: int) -> None:
        """Call so often, one call after the other."""
        for _ in range(calls):
            await self.method(_REQUEST, metadata=self.metadata)


def _processor_seconds(pid: int) -> float:
    """Of all threads of a process: the first field of schedstat, in nanoseconds."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def _request_cost(repeats: int = 20_000) -> float:
    """Microseconds for what is told of a request beside its call, and of the batch that it is."""
    metrics, result = Metrics(), ForwardResult(np.zeros((1, 3), np.float32), seed=None)
    metrics.model_created("model")

    def tell() -> None:
        metrics.request_started("forward")
        metrics.batch_computed(BatchFact("model", "forward", "single", 1, 0.00001, 1))
        metrics.request_finished(RequestFact("model", "forward", "ok", 0.00001, 1, 0.0, result.is_finite))

    best = math.inf
    for _ in range(10):
        begun = time.thread_time()
        for _ in range(repeats):
            tell()
        best = min(best, time.thread_time() - begun)
    return best / repeats * 1e6


if __name__ == "__main__":
    main()
