"""The three overloads: of heavy calls, by one greedy caller among nine, and of light calls."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from benchmarks.calls import Call, forward
from benchmarks.checks import Check
from benchmarks.echo import SERVICE
from benchmarks.generator import Order, Run, Steps
from benchmarks.gradserve_process import GradserveProcess
from benchmarks.h2load import Concurrency, flood, grpc_endpoint
from benchmarks.nets import HEAVY, S
from benchmarks.overload.judgement import (
    EXPECTED,
    admitted_p99,
    due,
    growth,
    ok_share,
    recovery_seconds,
    without_pushback,
)
from benchmarks.overload.watch import Probe, Watch, answers, is_serving, watching
from benchmarks.processes import ServerProcess
from benchmarks.scrape import Scrape
from gradserve.cli.load_generator.summary import Summary

_ROWS = 64
_DEADLINE = 0.25
_OVERLOAD = 5.0
_AFTER = 0.5
_MEMORY_MB = 16.0
_RECOVERY_SECONDS = 5.0
_HEALTH_SECONDS = 1.0
_SATURATING = (4, 16, 32)
_NORMAL_CALLERS, _NORMAL_SHARE, _GREED = 9, 0.08, 10
_FLOOD = Concurrency(64, 64)
_LIGHT_RATE = 100.0


@dataclass(frozen=True)
class Stage:
    """Where and for how long a scene is played.

    Attributes:
        server: What is overloaded.
        echo: A bare echo.
        cores: Those that the load generator has for itself; none if it has none.
        seconds: How long the overload lasts.
        after: How long it is watched then.
    """

    server: GradserveProcess
    echo: ServerProcess
    cores: tuple[int, ...]
    seconds: float
    after: float

    def order(self, call: Call, timeout: float | None = _DEADLINE) -> Order:
        """Calls to the server, each with a deadline unless it has none."""
        return Order(self.server.target, call.path, call.message, timeout, self.cores)

    def peak(self, call: Call) -> float:
        """The most calls a second that are answered OK, of a few closed loops."""
        order, seconds = self.order(call), max(1.0, self.seconds / 20)
        runs = (order.closed(concurrency, seconds) for concurrency in _SATURATING)
        return max(Summary.of(run.answers).ok_per_second for run in runs)


def heavy(stage: Stage) -> list[Check]:
    """Five times what it can compute of calls that each take milliseconds, then half of it."""
    call = forward(HEAVY, _ROWS)
    lone = Summary.of(stage.order(call, timeout=None).closed(1, 1.0).answers).latency["p50"]
    echo = Order(stage.echo.target, f"/{SERVICE}/{len(call.message)}", call.message, cores=stage.cores)
    ceiling = Summary.of(echo.closed(64, 1.0).answers).ok_per_second
    peak = stage.peak(call)
    steps = Steps(((_OVERLOAD * peak, stage.seconds), (_AFTER * peak, stage.after)))
    with watching(stage.server.process) as watch:
        run = stage.order(call).steps(steps)
    during = due(run.answers, 0.0, stage.seconds)
    goodput = sum(answer.code == "OK" for answer in during) / stage.seconds
    return [
        Check.at_least("heavy: a lone call takes, ms", lone * 1000, 2),
        Check.at_most("heavy: offered rate over the echo's", _OVERLOAD * peak / ceiling, 0.5),
        Check.at_least(f"heavy: goodput over its peak of {peak:.0f}/s", goodput / peak, 0.9),
        Check.at_most("heavy: p99 of admitted calls, ms", admitted_p99(during) * 1000, _DEADLINE * 1000),
        Check.equal("heavy: refusals without pushback", without_pushback(during), 0),
        *_common("heavy", run, watch, stage.seconds),
    ]


def greedy(stage: Stage) -> list[Check]:
    """One caller calls ten times as often as each of nine others; together they exceed what the server can do."""
    call = forward(HEAVY, _ROWS)
    normal = _NORMAL_SHARE * stage.peak(call)
    callers = [Steps(((normal, stage.seconds),), seed) for seed in range(_NORMAL_CALLERS)]
    with watching(stage.server.process) as watch:
        run = stage.order(call).steps(*callers, Steps(((_GREED * normal, stage.seconds),), _NORMAL_CALLERS))
    worst = min(ok_share(answers) for answers in run.callers[:_NORMAL_CALLERS])
    return [
        Check.at_least("greedy: OK of the normal callers, the worst", worst, 0.95),
        Check("greedy: OK of the greedy caller", f"{ok_share(run.callers[-1]):.3g}", "", holds=True),
        *_common("greedy", run, watch, stage.seconds)[:3],
    ]


def light(stage: Stage) -> list[Check]:
    """Thousands of calls in flight at a net that costs nothing, beside one caller of modest needs."""
    call, before = forward(S), _codes(stage.server)
    run, watch, end = _flooded(stage, stage.server.process, call.path, call.message)
    codes = {code for code, count in _codes(stage.server).items() if count > before.get(code, 0)}
    return [
        _statuses("light: statuses that the server counted", codes),
        *_common("light", run, watch, end),
        *_flooded_echo(stage, call),
    ]


def _flooded_echo(stage: Stage, call: Call) -> list[Check]:
    """What becomes of a server that does nothing, for comparison."""
    path = f"/{SERVICE}/{len(call.message)}"
    run, watch, _ = _flooded(stage, stage.echo, path, call.message, answers(path, call.message))
    memory, slowest = growth(watch.memory.values) / 1e6, max(watch.health.values)
    return [
        Check("light: statuses of an echo", ", ".join(sorted({answer.code for answer in run.answers})), "", holds=True),
        Check("light: growth of an echo's memory, MB", f"{memory:.3g}", "", holds=True),
        Check("light: slowest answer of an echo, s", f"{slowest:.3g}", "", holds=True),
    ]


def _flooded(
    stage: Stage, server: ServerProcess, path: str, message: bytes, probe: Probe = is_serving
) -> tuple[Run, Watch, float]:
    """Flood a server; gives what the modest caller met, what was seen, and when the flood ended."""
    endpoint = grpc_endpoint(server.target, path, message, f"grpc-timeout: {_DEADLINE * 1000:.0f}m")
    caller = Steps(((_LIGHT_RATE, stage.seconds + stage.after),))
    order = Order(server.target, path, message, _DEADLINE, stage.cores)
    with watching(server, probe) as watch, ThreadPoolExecutor(1) as background:
        modest = background.submit(order.steps, caller)
        flood(endpoint, _FLOOD, stage.seconds, stage.cores)
        end = time.monotonic()
        run = modest.result()
    return run, watch, end - run.start


def _common(scene: str, run: Run, watch: Watch, end: float) -> list[Check]:
    """What holds in every scene; the time after the overload counts from `end`."""
    memory = growth(watch.memory.values) / 1e6
    return [
        _statuses(f"{scene}: statuses", {answer.code for answer in run.answers}),
        Check.at_most(f"{scene}: growth of memory, MB", memory, _MEMORY_MB),
        Check.at_most(f"{scene}: slowest health check, s", max(watch.health.values), _HEALTH_SECONDS),
        Check.at_most(f"{scene}: until 99 % are OK again, s", recovery_seconds(run.answers, end), _RECOVERY_SECONDS),
    ]


def _statuses(name: str, codes: set[str]) -> Check:
    wanted = f"some of {', '.join(sorted(EXPECTED))}"
    return Check(name, ", ".join(sorted(codes)) or "none", wanted, holds=bool(codes) and codes <= EXPECTED)


def _codes(server: GradserveProcess) -> dict[str, int]:
    """How many calls the server has ended with each status."""
    scrape = Scrape.of(server.metrics)
    names = {labels["grpc_code"] for name, labels, _ in scrape.samples if name == "grpc_server_handled_total"}
    return {_upper_snake(name): scrape.sum("grpc_server_handled_total", grpc_code=name) for name in names}


def _upper_snake(code: str) -> str:
    """A status as gRPC writes it, from how metrics do: ResourceExhausted is RESOURCE_EXHAUSTED."""
    return code if code == "OK" else re.sub(r"(?<!^)(?=[A-Z])", "_", code).upper()
