"""What the tests of the command line may ask for: to run one command."""

import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import pytest
from click.testing import CliRunner

from gradserve.cli import main


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


class Run(Protocol):
    """Runs one command in this process; standard output is no terminal."""

    def __call__(self, *arguments: object, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Outcome: ...


@pytest.fixture(scope="session")
def run_anywhere() -> Run:
    """Run a command that names its server itself, or needs none."""

    def run(*arguments: object, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Outcome:
        clean: dict[str, str | None] = {"GRADSERVE_TARGET": None, "GRADSERVE_TIMEOUT": None, **(env or {})}
        with CliRunner().isolation(input=stdin, env=clean) as (out, err, _):
            code = main([str(argument) for argument in arguments])
            sys.stdout.flush()
            sys.stderr.flush()
            return Outcome(code, out.getvalue().decode(), err.getvalue().decode())

    return run


@pytest.fixture(scope="session")
def run(run_anywhere: Run, target: str) -> Run:
    """Run a command on the server with the bundled models."""

    def run_there(*arguments: object, **options: Any) -> Outcome:
        return run_anywhere("--server", target, *arguments, **options)

    return run_there


@pytest.fixture(scope="session")
def run_durable(run_anywhere: Run, durable_target: str) -> Run:
    """Run a command on a server that keeps what it is given on disk."""

    def run_there(*arguments: object, **options: Any) -> Outcome:
        return run_anywhere("--server", durable_target, *arguments, **options)

    return run_there


@pytest.fixture
def mute_target() -> Iterator[str]:
    """An address where connections are taken and never answered."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"
