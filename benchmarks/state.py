"""How fast weights move, beside a bare gRPC stream of as many bytes: `python -m benchmarks.state`.

One server keeps its store in memory (tmpfs), one on disk, and a third only moves bytes. In each round each of them is
asked in turn, so that what slows the machine down meets all alike. Client and servers share the machine. What a client
does with the bytes is not timed: they are there before an upload, with their checksum, and dropped after a download.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.processes import MemoryGrowth, ServerProcess, running
from benchmarks.transfers import ByteStream, Weights

_CHANNEL = [("grpc.max_receive_message_length", 64 * 1024**2)]
_SPARE_BYTES = 64 * 10**6

BARE = "bare stream"
"""What the others are held against."""


@dataclass(frozen=True)
class Transfer:
    """One thing to time.

    Attributes:
        name: What it is.
        direction: "up" or "down"; each has a bare stream to stand beside.
        server: Whose memory is watched.
        run: Does it.
    """

    name: str
    direction: str
    server: ServerProcess
    run: Callable[[], None]


@dataclass(frozen=True)
class Result:
    """What one transfer came to over all rounds.

    Attributes:
        name: Which.
        direction: "up" or "down".
        seconds: Of each round.
        bytes_per_second: The median.
        ratio: The median beside that of the bare stream in the same direction.
        memory_growth_bytes: The most that the server's anonymous memory grew during one.
    """

    name: str
    direction: str
    seconds: tuple[float, ...]
    bytes_per_second: float
    ratio: float
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
        results: First those up, then those down.
    """

    machine: str
    cores: int
    load_before: float
    bytes: int
    memory_growth_allowed_bytes: int
    results: tuple[Result, ...]


@dataclass(frozen=True)
class Subjects:
    """What is measured: each server's process, and what asks it."""

    stream_process: ServerProcess
    tmpfs_process: ServerProcess
    disk_process: ServerProcess
    stream: ByteStream
    tmpfs: Weights
    disk: Weights

    def transfers(self, content: memoryview, sha256: bytes) -> list[Transfer]:
        """Everything to time, in the order of a round."""
        size, stream, tmpfs, disk = len(content), self.stream, self.tmpfs, self.disk
        return [
            Transfer(BARE, "up", self.stream_process, lambda: stream.up(content)),
            Transfer("not durable", "up", self.tmpfs_process, lambda: tmpfs.up(content, sha256, durable=False)),
            Transfer("store on tmpfs", "up", self.tmpfs_process, lambda: tmpfs.up(content, sha256, durable=True)),
            Transfer("store on disk", "up", self.disk_process, lambda: disk.up(content, sha256, durable=True)),
            Transfer(BARE, "down", self.stream_process, lambda: stream.down(size)),
            Transfer("state_dict", "down", self.tmpfs_process, tmpfs.down),
        ]


def measure(options: argparse.Namespace) -> Report:
    """Start the servers, and time everything."""
    load_before = os.getloadavg()[0]
    with _subjects(options.tmpfs, options.disk) as subjects:
        for weights in (subjects.tmpfs, subjects.disk):
            weights.create(options.bytes)
        content, sha256 = subjects.tmpfs.fetch()
        results = _rounds(subjects.transfers(memoryview(content), sha256), options.rounds, len(content))
        for weights in (subjects.tmpfs, subjects.disk):
            if hashlib.sha256(weights.fetch()[0]).digest() != sha256:
                raise OSError("what came down is not what went up")
    return Report(
        machine=f"{platform.machine()}, {platform.system()} {platform.release()}, Python {platform.python_version()}",
        cores=len(os.sched_getaffinity(0)),
        load_before=load_before,
        bytes=len(content),
        memory_growth_allowed_bytes=len(content) + _SPARE_BYTES,
        results=tuple(results),
    )


@contextmanager
def _subjects(tmpfs: Path, disk: Path) -> Iterator[Subjects]:
    with ExitStack() as stack:
        processes = (
            stack.enter_context(running("benchmarks.byte_stream")),
            stack.enter_context(_gradserve(tmpfs)),
            stack.enter_context(_gradserve(disk)),
        )
        channels = [stack.enter_context(grpc.insecure_channel(process.target, _CHANNEL)) for process in processes]
        yield Subjects(*processes, ByteStream(channels[0]), Weights(channels[1]), Weights(channels[2]))


@contextmanager
def _gradserve(folder: Path) -> Iterator[ServerProcess]:
    with tempfile.TemporaryDirectory(prefix="gradserve-benchmark-", dir=folder) as data:
        # The store keeps no more than it must: these files are large.
        ports = ("--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0")
        flags = (*ports, "--data-dir", data, "--set", "store.automatic_checkpoints=0")
        with running("gradserve", "serve", *flags) as server:
            yield server


def _rounds(transfers: list[Transfer], rounds: int, size: int) -> list[Result]:
    seconds: dict[Transfer, list[float]] = {transfer: [] for transfer in transfers}
    growth = dict.fromkeys(transfers, 0)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(transfers) * (rounds + 1))
        # The first round warms up: channels connect, and each allocator gets its memory.
        for number in range(rounds + 1):
            for transfer in transfers:
                progress.update(task, description=f"round {number} of {rounds}: {transfer.direction}, {transfer.name}")
                with MemoryGrowth(transfer.server) as memory:
                    start = time.perf_counter()
                    transfer.run()
                    taken = time.perf_counter() - start
                growth[transfer] = max(growth[transfer], memory.bytes)
                if number:
                    seconds[transfer].append(taken)
                progress.advance(task)
    return _results(seconds, growth, size)


def _results(seconds: Mapping[Transfer, list[float]], growth: Mapping[Transfer, int], size: int) -> list[Result]:
    medians = {transfer: statistics.median(taken) for transfer, taken in seconds.items()}
    bare = {transfer.direction: medians[transfer] for transfer in seconds if transfer.name == BARE}
    return [
        Result(
            name=transfer.name,
            direction=transfer.direction,
            seconds=tuple(taken),
            bytes_per_second=size / medians[transfer],
            ratio=bare[transfer.direction] / medians[transfer],
            memory_growth_bytes=growth[transfer],
        )
        for transfer, taken in seconds.items()
    ]


def _table(report: Report) -> Table:
    rounds = len(report.results[0].seconds)
    growth = f"at most {report.memory_growth_allowed_bytes / 1e6:.0f} MB of memory growth wanted"
    table = Table(
        title=f"A state_dict of {report.bytes / 1e9:.2f} GB, medians of {rounds} rounds",
        caption=f"{report.cores} cores, load {report.load_before:.1f} before; {growth}",
    )
    for heading in ("", "GB/s", "ratio", "fastest s", "slowest s", "growth MB"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for result in report.results:
        table.add_row(
            f"{result.direction}, {result.name}",
            f"{result.bytes_per_second / 1e9:.2f}",
            f"{result.ratio:.2f}",
            f"{min(result.seconds):.2f}",
            f"{max(result.seconds):.2f}",
            f"{result.memory_growth_bytes / 1e6:.0f}",
        )
    return table


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="How fast weights move, beside a bare gRPC stream of as many bytes.")
    parser.add_argument("--bytes", type=int, default=10**9, help="size of the state_dict (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds (default: %(default)s)")
    parser.add_argument("--tmpfs", type=Path, default=Path("/dev/shm"), help="where to keep one store")  # noqa: S108
    parser.add_argument("--disk", type=Path, default=Path.cwd(), help="where to keep the other (default: here)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = _options()
    report = measure(options)
    if options.json:
        print(json.dumps(asdict(report), indent=2))
    else:
        Console().print(_table(report))


if __name__ == "__main__":
    main()
