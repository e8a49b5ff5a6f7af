"""The lives of one server, one after the other, each in a process that is forked from one that has imported everything.

Importing takes seconds and forking takes milliseconds. The process that is forked has one thread, has not used gRPC and
has computed nothing but what sets torch up, so that a server begins in its child as it does in a new process.

As a program, it reads where servers listen and their data folders, a line for each server. For each it forks; the child
tells its process id and serves, and the parent tells how that ended.
"""

from __future__ import annotations

import importlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.support.server import server_environment

_READY = "ready"
_ENDED = "ended "
_LISTENING = re.compile(r" listening on (\S+),")


class ServerLives:
    """Servers of which one at a time lives, each until it is killed or told to stop."""

    def __init__(self, program: subprocess.Popen[str]) -> None:
        self._program = program
        self._process_id: int | None = None
        assert self._line() == _READY

    def begin(self, data_dir: Path, listen: str = "127.0.0.1:0") -> None:
        """Have a server start."""
        assert self._program.stdin is not None
        self._program.stdin.write(f"{listen} {data_dir}\n")
        self._program.stdin.flush()
        self._process_id = int(self._line())

    def target(self) -> str:
        """Where it listens, once it serves."""
        found = _LISTENING.search(self._line())
        assert found, "the server did not start"
        return found[1]

    def end(self) -> None:
        """Kill it, and wait until it is gone."""
        assert self._exit_code(signal.SIGKILL) == -signal.SIGKILL, "the server ended before it was killed"

    def stop(self) -> int:
        """Ask it to stop, wait until it has, and give its exit code."""
        return self._exit_code(signal.SIGTERM)

    def close(self) -> None:
        """End the one that still lives, if a test has failed in the middle of its life."""
        if self._process_id is not None:
            os.kill(self._process_id, signal.SIGKILL)

    def _exit_code(self, signum: signal.Signals) -> int:
        assert self._process_id is not None
        os.kill(self._process_id, signum)
        self._process_id = None
        while not (line := self._line()).startswith(_ENDED):
            pass
        return int(line.removeprefix(_ENDED))

    def _line(self) -> str:
        assert self._program.stdout is not None
        return self._program.stdout.readline().rstrip("\n")


@contextmanager
def server_lives(log: Path) -> Iterator[ServerLives]:
    """Begin to let servers live, which write their log to a file."""
    command = [sys.executable, "-W", "error", "-m", __name__]
    # Libraries of linear algebra start their threads when they are imported.
    environment = server_environment({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})
    with (
        log.open("wb") as sink,
        subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sink, text=True
        ) as program,
    ):
        lives = ServerLives(program)
        with closing(lives):
            yield lives


def main() -> None:
    """Serve lines until there are no more."""
    from gradserve_server.config import ServeOptions  # noqa: PLC0415 - for the program alone, as it imports torch
    from gradserve_server.engine.forward_mode import set_up_forward_mode  # noqa: PLC0415
    from gradserve_server.main import serve  # noqa: PLC0415

    set_up_forward_mode()
    # What torch imports at a process's first warm-up.
    importlib.import_module("torch._dynamo")
    assert threading.active_count() == 1
    if sys.platform == "linux":
        assert len(list(Path("/proc/self/task").iterdir())) == 1, "a library has a thread, and its children not"
    _tell(_READY)
    for line in sys.stdin:
        if child := os.fork():
            _, status = os.waitpid(child, 0)
            _tell(f"{_ENDED}{os.waitstatus_to_exitcode(status)}")
        else:
            _tell(str(os.getpid()))
            listen, _, data_dir = line.rstrip("\n").partition(" ")
            os._exit(serve(ServeOptions(listen=listen, data_dir=Path(data_dir))))


def _tell(line: str) -> None:
    os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    main()
