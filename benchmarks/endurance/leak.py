"""How much memory a call leaves behind, over calls of 1 to 512 rows."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.calls import forward
from benchmarks.checks import Check
from benchmarks.gradserve_process import GradserveProcess, gradserve
from benchmarks.h2load import Concurrency, drive, grpc_endpoint
from benchmarks.nets import S

_SIZES = range(1, 513)
_CONCURRENCY = Concurrency(4, 2)
_FEWEST = 200
_SEED = 0
_KB_PER_CALL = 0.1
_LEAKING_SERVER = "benchmarks.endurance.leaking_server"
_PLANTED_SHARE = 10


def checks(calls: int, checkout: Path, told: Callable[[str], None]) -> list[Check]:
    """Measure the server, and one with a leak of 1 KB a call, with a tenth of the calls.

    Args:
        calls: How many, of all sizes together.
        checkout: The clone whose server to measure.
        told: Is told what is being done.
    """
    with gradserve(checkout=checkout) as server:
        slope = kb_per_call(server, calls, told)
    with gradserve(checkout=checkout, module=_LEAKING_SERVER) as server:
        planted = kb_per_call(server, calls // _PLANTED_SHARE, told)
    return [
        Check.at_most(f"memory of {calls:,} calls, KB a call", slope, _KB_PER_CALL),
        Check.at_least("the same with a leak of 1 KB planted", planted, _KB_PER_CALL),
    ]


def kb_per_call(server: GradserveProcess, calls: int, told: Callable[[str], None]) -> float:
    """The slope of the server's memory over so many calls, in KB: the least squares' line."""
    each = max(_FEWEST, calls // len(_SIZES))
    sizes = random.Random(_SEED).sample(_SIZES, min(len(_SIZES), calls // each))  # noqa: S311 - nothing secret is drawn
    # Each size once, so that every buffer has been there before the first sample is taken.
    _memory(server, sizes, _CONCURRENCY.in_flight, told)
    memory = _memory(server, sizes, each, told)
    counts = [number * each for number in range(len(memory))]
    return statistics.linear_regression(counts, memory).slope / 1000


def _memory(server: GradserveProcess, sizes: Iterable[int], each: int, told: Callable[[str], None]) -> list[float]:
    """The server's memory in bytes after the calls of each size; all of them must be answered OK."""
    samples = [float(server.process.anonymous_bytes())]
    for number, rows in enumerate(sizes):
        told(f"size {number + 1}: {each} calls of {rows} rows")
        call = forward(S, rows)
        with server.answering(each):
            drive(grpc_endpoint(server.target, call.path, call.message), _CONCURRENCY, each)
        samples.append(float(server.process.anonymous_bytes()))
    return samples
