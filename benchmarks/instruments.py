"""What counting costs: processor time of a server for each call, with and without, interleaved.

Run `python -m benchmarks.instruments`; it needs Linux.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import statistics
import time
from pathlib import Path

import grpc
import numpy as np
from grpc_health.v1 import health_pb2

from benchmarks.echo_servers import KINDS, METHOD
from benchmarks.processes import running
from gradserve_server.facts import BatchFact, RequestFact
from gradserve_server.metrics import Metrics
from gradserve_server.operations import ForwardResult

_REQUEST = health_pb2.HealthCheckRequest(service="x").SerializeToString()
_CALLERS = 8


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="how often each server is asked (default: 40)")
    parser.add_argument("--calls", type=int, default=2000, help="calls a round (default: 2000)")
    parser.add_argument("--json", action="store_true", help="print every round")
    options = parser.parse_args()
    with running("benchmarks.echo_servers") as server:
        rounds = asyncio.run(_rounds(server.target.split(";"), server.pid, options.rounds, options.calls))
    if options.json:
        print(json.dumps(rounds))
        return
    for kind, base in (("bare", "bare"), ("boundary", "bare"), ("counted", "boundary")):
        costs, median = rounds[kind], statistics.median(rounds[base])
        extra = statistics.median(cost - other for cost, other in zip(costs, rounds[base], strict=True))
        quarters = [f"{cost:.0f}" for cost in statistics.quantiles(costs)]
        print(f"{kind}: {'/'.join(quarters)} us a call; {extra:+.1f} us beside {base}, {extra / median:+.1%}")
    print(f"a request to a model and its batch: {_request_cost():.1f} us more")


async def _rounds(targets: list[str], pid: int, rounds: int, calls: int) -> dict[str, list[float]]:
    """Microseconds of processor time for each call, by kind; what is slow at first is not timed."""
    costs: dict[str, list[float]] = {kind: [] for kind in KINDS}
    channels = [grpc.aio.insecure_channel(target) for target in targets]
    methods: dict[str, grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = {
        kind: channel.unary_unary(METHOD) for kind, channel in zip(KINDS, channels, strict=True)
    }
    for turn in range(-2, rounds):
        # Each kind comes first, second and last equally often.
        for kind in (*KINDS[turn % 3 :], *KINDS[: turn % 3]):
            before = _processor_seconds(pid)
            await asyncio.gather(*(_call(methods[kind], calls // _CALLERS) for _ in range(_CALLERS)))
            if turn >= 0:
                costs[kind].append((_processor_seconds(pid) - before) / calls * 1e6)
    for channel in channels:
        await channel.close()
    return costs


async def _call(method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes], calls: int) -> None:
    for _ in range(calls):
        await method(_REQUEST)


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
