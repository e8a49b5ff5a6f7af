"""What a run of the weights' benchmark came to."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True)
class Sample:
    """What one transfer took.

    Attributes:
        seconds: From its start to its end.
        server_seconds: Of processor time in the server.
        client_seconds: Of processor time in the client.
        memory_growth_bytes: By how much the server's anonymous memory grew, at most.
    """

    seconds: float
    server_seconds: float
    client_seconds: float
    memory_growth_bytes: int


@dataclass(frozen=True)
class Result:
    """What one transfer came to over all rounds.

    Attributes:
        name: Which.
        direction: "up" or "down".
        seconds: Of each round.
        bytes_per_second: The median.
        ratio: The median beside that of the bare stream in the same direction.
        server_seconds: The median of the processor time in the server.
        client_seconds: Likewise in the client.
        memory_growth_bytes: The most that the server's anonymous memory grew during one, the untimed round included.
    """

    name: str
    direction: str
    seconds: tuple[float, ...]
    bytes_per_second: float
    ratio: float
    server_seconds: float
    client_seconds: float
    memory_growth_bytes: int


@dataclass(frozen=True)
class Report:
    """A whole run.

    Attributes:
        machine: What it ran on.
        cores: How many of them it may use.
        load_before: The machine's load average of the minute before: much above 0, and the figures say little.
        bytes: The size of the state_dict.
        memory_growth_allowed_bytes: One copy of it and 64 MB.
        steps: The processor seconds of what an upload costs at least beside a bare stream, by step.
        results: First those up, then those down.
    """

    machine: str
    cores: int
    load_before: float
    bytes: int
    memory_growth_allowed_bytes: int
    steps: Mapping[str, float]
    results: tuple[Result, ...]

    @property
    def highest_ratio_up(self) -> float:
        """That of an upload which does the steps and no more, on all cores without a pause.

        It holds where nothing else runs: what slows the bare stream down makes it too high.
        """
        bare = self.results[0]
        seconds = min(bare.seconds)
        busy = bare.server_seconds + bare.client_seconds + sum(self.steps.values())
        return min(1.0, seconds * self.cores / busy)


def median_seconds(samples: Sequence[Sample]) -> float:
    """How long it took from start to end, as the median."""
    return statistics.median(sample.seconds for sample in samples)


def summary(name: str, direction: str, samples: Sequence[Sample], size: int, bare_seconds: float) -> Result:
    """The result of one transfer's rounds, the first of which is not timed, beside a bare stream of as many bytes."""
    timed = samples[1:]
    return Result(
        name=name,
        direction=direction,
        seconds=tuple(sample.seconds for sample in timed),
        bytes_per_second=size / median_seconds(timed),
        ratio=bare_seconds / median_seconds(timed),
        server_seconds=statistics.median(sample.server_seconds for sample in timed),
        client_seconds=statistics.median(sample.client_seconds for sample in timed),
        memory_growth_bytes=max(sample.memory_growth_bytes for sample in samples),
    )


def table(report: Report) -> Table:
    """The report for a terminal."""
    rounds = len(report.results[0].seconds)
    growth = f"at most {report.memory_growth_allowed_bytes / 1e6:.0f} MB of memory growth wanted"
    steps = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in report.steps.items())
    least = f"an upload's steps take {steps} of CPU: its ratio here is at most {report.highest_ratio_up:.2f}"
    lines = Table(
        title=f"A state_dict of {report.bytes / 1e9:.2f} GB, medians of {rounds} rounds",
        caption=f"{report.cores} cores, load {report.load_before:.1f} before; {growth}\n{least}",
    )
    for heading in ("", "GB/s", "ratio", "fastest s", "slowest s", "server CPU s", "client CPU s", "growth MB"):
        lines.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for result in report.results:
        lines.add_row(
            f"{result.direction}, {result.name}",
            f"{result.bytes_per_second / 1e9:.2f}",
            f"{result.ratio:.2f}",
            f"{min(result.seconds):.2f}",
            f"{max(result.seconds):.2f}",
            f"{result.server_seconds:.2f}",
            f"{result.client_seconds:.2f}",
            f"{result.memory_growth_bytes / 1e6:.0f}",
        )
    return lines
