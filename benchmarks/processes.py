"""Servers in processes of their own, and the memory and the processor time that they take."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_LISTENING = re.compile(rb" listening on (\S+),")
_SAMPLE_SECONDS = 0.01
_STOP_SECONDS = 60

CHECKOUT = Path(__file__).resolve().parent.parent
"""This clone of the repository."""

IMAGE_ENVIRONMENT = {"GRPC_EXPERIMENTS": "-event_engine_listener"}
"""What the image says to gRPC."""


@dataclass(frozen=True)
class ServerProcess:
    """A server that listens.

    Attributes:
        target: Where it listens: "HOST:PORT".
        pid: Its process.
    """

    target: str
    pid: int

    def anonymous_bytes(self) -> int:
        """The memory that it holds now and that is not a file's: RssAnon of proc(5)."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
        raise OSError("this system does not tell RssAnon; Linux does")

    def processor_seconds(self) -> float:
        """The processor time that it has taken so far, in user and in kernel mode: utime and stime of proc(5)."""
        # The name of the program, in brackets, may hold anything.
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(
    module: str, *arguments: str, checkout: Path = CHECKOUT, cores: Collection[int] = ()
) -> Iterator[ServerProcess]:
    """Run `python -m <module>` until the block ends; it must print where it listens, as `gradserve serve` does.

    Args:
        module: What to run.
        arguments: Its arguments.
        checkout: The clone of the repository whose code it is to run.
        cores: Those that it may use; without any, all that this process may.
    """
    command = [*pinned(cores), sys.executable, "-m", module, *arguments]
    path = [str(checkout / folder) for folder in ("client", "server", ".")]
    environ = {**IMAGE_ENVIRONMENT, **os.environ, "PYTHONPATH": os.pathsep.join(path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environ) as process:  # noqa: S603 - what to measure
        try:
            found = _LISTENING.search(process.stdout.readline() if process.stdout else b"")
            if found is None:
                raise OSError(f"{module} did not start")
            yield ServerProcess(found[1].decode(), process.pid)
        finally:
            process.terminate()
            process.wait(_STOP_SECONDS)


def pinned(cores: Collection[int]) -> list[str]:
    """What to put before a command that is to use only these cores; nothing where there is no such wish."""
    return ["taskset", "--cpu-list", ",".join(map(str, cores))] if cores else []


class MemoryGrowth:
    """The most memory that a server takes inside a block beyond what it had at its start, sampled each 10 ms.

    Attributes:
        bytes: That growth.
    """

    def __init__(self, server: ServerProcess) -> None:
        self.bytes = 0
        self._server = server
        self._before = server.anonymous_bytes()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        ended = False
        while not ended:
            ended = self._end.wait(_SAMPLE_SECONDS)
            self.bytes = max(self.bytes, self._server.anonymous_bytes() - self._before)
