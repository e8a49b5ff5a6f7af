"""Saving under strace: to see the system calls of a save, and to have one of them fail or be the last."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.server.checkpoints import saving_process
from tests.support.strace import require_strace

_LINE = re.compile(r"^\d+ +(\w+)\((.*)$")
_RANDOM_NAME = re.compile(r"[0-9a-f]{8}(?=[-.])")
# Arguments from the first on that the call fills in: all that a trace lacks of a call that fails or never ends.
_FILLED_IN = re.compile(r"(0x|\{| *<unfinished).*")


@dataclass(frozen=True)
class SystemCall:
    """One call in a trace.

    Attributes:
        name: Such as "fsync".
        ordinal: The how-manieth of its name it is in the trace, from 1 up.
        text: What it was called with, as far as that is the same in each run.
    """

    name: str
    ordinal: int
    text: str


class Saver:
    """A running `saving_process`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def save(self, folder: Path, version: int, log: Path, *options: str) -> str:
        """Keep a model under strace, which has further options and writes to a file; how that ended, if it did."""
        self._tell(f"{version} {folder}\n")
        command = ["strace", "-f", "-p", self._told(), "-o", str(log), *options]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
            assert strace.stderr is not None
            greeting = strace.stderr.readline()
            assert "attached" in greeting, greeting
            self._tell("!")
            end = self._told()
            if end != saving_process.DONE:
                assert self._told() == saving_process.DONE
        return "" if end == saving_process.DONE else end

    def _tell(self, what: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(what)
        self._process.stdin.flush()

    def _told(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@contextmanager
def running_saver() -> Iterator[Saver]:
    """Start the program."""
    require_strace("THE STORE'S SYSTEM CALLS ARE")
    command = [sys.executable, "-m", saving_process.__name__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Saver(process)


def calls_of_the_save(log: Path) -> list[SystemCall]:
    """The calls in a log that the save made, and the one after it."""
    calls = _calls(log)
    markers = (saving_process.BEGIN, saving_process.END)
    begin, end = (next(index for index, call in enumerate(calls) if marker in call.text) for marker in markers)
    return calls[begin + 1 : end + 1]


def was_made(call: SystemCall, log: Path) -> bool:
    """Whether a log has a call, in the same place."""
    return call in _calls(log)


def _calls(log: Path) -> list[SystemCall]:
    counts: Counter[str] = Counter()
    calls = []
    for line in log.read_text().splitlines():
        if match := _LINE.match(line):
            name, rest = match.groups()
            counts[name] += 1
            arguments = _RANDOM_NAME.sub("*", rest.rpartition(" = ")[0].rstrip().removesuffix(")"))
            known = "" if name == "getrandom" else _FILLED_IN.sub("", arguments).rstrip(", ")
            calls.append(SystemCall(name, counts[name], known))
    return calls
