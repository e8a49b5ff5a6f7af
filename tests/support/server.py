"""A real server in a process of its own, on a port that the system chooses."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_LISTENING = re.compile(r" listening on (\S+),(?:.*\n)+metrics and health checks on (\S+)\n")
_START_SECONDS = 60
_STOP_SECONDS = 30
GRADSERVE = (sys.executable, "-W", "error", "-m", "gradserve")
FAILING_GRADSERVE = (sys.executable, "-W", "error", str(Path(__file__).with_name("failing_gradserve.py")))
WRONG_GRADSERVE = (sys.executable, "-W", "error", str(Path(__file__).with_name("wrong_gradserve.py")))
_NO_PICKLE = Path(__file__).with_name("no_pickle")


@dataclass(frozen=True)
class RunningServer:
    """A server that has said where it listens.

    Attributes:
        target: Where that is, such as "127.0.0.1:41237".
        http: Where it tells metrics and health, such as "http://127.0.0.1:41238".
        process: Its process.
        output: The file that its standard output and error go to.
    """

    target: str
    http: str
    process: subprocess.Popen[bytes]
    output: Path

    def log(self) -> str:
        """Everything that it has printed so far."""
        return self.output.read_text()

    def stop(self, signum: int = signal.SIGTERM) -> int:
        """Ask it to stop, wait until it has, and give its exit code."""
        self.process.send_signal(signum)
        return self.process.wait(_STOP_SECONDS)


def server_environment(more: Mapping[str, str]) -> dict[str, str]:
    """This process's environment, with what forbids a Python process to read pickles."""
    path = [str(_NO_PICKLE), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), **more}


@contextmanager
def start_server(
    *args: str,
    env: Mapping[str, str] | None = None,
    config: str | None = None,
    data_dir: Path | None = None,
    program: Sequence[str] = GRADSERVE,
) -> Iterator[RunningServer]:
    """Start `gradserve serve` with some flags, and with a configuration file of some content if there is one.

    It keeps nothing on disk unless `data_dir` says where. `program` is what to run in the place of `gradserve`.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "output")
        command = [*program, "serve", "--listen", "127.0.0.1:0", *args]
        command += ["--ephemeral"] if data_dir is None else ["--data-dir", str(data_dir)]
        if config is not None:
            file = Path(folder, "server.toml")
            file.write_text(config)
            command += ["--config", str(file)]
        with output.open("wb") as sink:
            process = subprocess.Popen(command, env=server_environment(env or {}), stdout=sink, stderr=sink)
        try:
            yield RunningServer(*_addresses(process, output), process, output)
        finally:
            process.kill()
            process.wait()


def _addresses(process: subprocess.Popen[bytes], output: Path) -> tuple[str, str]:
    # The file grows when the server prints; there is nothing to wait on but the process itself.
    for _ in range(_START_SECONDS * 20):
        if found := _LISTENING.search(output.read_text()):
            return found[1], found[2]
        threading.Event().wait(0.05)
        if process.poll() is not None:
            break
    raise AssertionError(f"the server did not start: {output.read_text()}")
