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
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc
from rich.console import Console
from rich.progress import Progress

from benchmarks.processes import MemoryGrowth, ServerProcess, running
from benchmarks.reports import Report, Result, Sample, median_seconds, summary, table
from benchmarks.steps import processor_seconds
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
        steps = processor_seconds(memoryview(content), options.tmpfs)
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
        steps=steps,
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
    samples: dict[Transfer, list[Sample]] = {transfer: [] for transfer in transfers}
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(transfers) * (rounds + 1))
        # The first round warms up: channels connect, and each allocator gets its memory.
        for number in range(rounds + 1):
            for transfer in transfers:
                progress.update(task, description=f"round {number} of {rounds}: {transfer.direction}, {transfer.name}")
                samples[transfer].append(_sample(transfer))
                progress.advance(task)
    return _results(samples, size)


def _sample(transfer: Transfer) -> Sample:
    with MemoryGrowth(transfer.server) as memory:
        server, client, start = transfer.server.processor_seconds(), time.process_time(), time.perf_counter()
        transfer.run()
        seconds, client = time.perf_counter() - start, time.process_time() - client
        server = transfer.server.processor_seconds() - server
    return Sample(seconds, server, client, memory.bytes)


def _results(samples: Mapping[Transfer, list[Sample]], size: int) -> list[Result]:
    bare = {
        transfer.direction: median_seconds(taken[1:]) for transfer, taken in samples.items() if transfer.name == BARE
    }
    return [
        summary(transfer.name, transfer.direction, taken, size, bare[transfer.direction])
        for transfer, taken in samples.items()
    ]


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
        print(json.dumps({**asdict(report), "highest_ratio_up": report.highest_ratio_up}, indent=2))
    else:
        Console().print(table(report))


if __name__ == "__main__":
    main()
