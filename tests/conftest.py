"""What every test may ask for: one real server with the bundled models, and a client of it."""

import os
from collections.abc import Iterator
from contextlib import nullcontext

import pytest

import gradserve
from tests.support.either_client import async_client_in_its_place
from tests.support.no_pickle import sitecustomize  # noqa: F401 - from here on nothing can be unpickled
from tests.support.server import RunningServer, start_server

_REPORT = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """How much the test that kills servers does."""
    parser.addoption("--kills", type=int, default=50, help="How often to kill a server; default: 50 times.")


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config) -> list[str]:
    """Lines to print at the end."""
    return pytestconfig.stash.setdefault(_REPORT, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print them."""
    if lines := config.stash.get(_REPORT, []):
        terminalreporter.section("what the server and its store went through")
        terminalreporter.write_line("\n".join(lines))


# Every server that a test starts, however it does, is out of the way of all others.
os.environ["GRADSERVE_SERVER__SERVER__METRICS_LISTEN"] = "127.0.0.1:0"


@pytest.fixture(scope="session")
def server() -> Iterator[RunningServer]:
    """A server with the bundled models. At the end it has met no bug: nothing that it called an internal error."""
    with start_server("--examples") as running:
        yield running
        assert "internal error" not in running.log()
        assert "Traceback" not in running.log()


@pytest.fixture(scope="session")
def target(server: RunningServer) -> str:
    """Where that server listens."""
    return server.target


@pytest.fixture(scope="module", autouse=True)
def client_kind(request: pytest.FixtureRequest) -> Iterator[str]:
    """Which client `gradserve.Client` is: "sync" for itself, or "async"; `tests.support.either_client` has both."""
    kind = getattr(request, "param", "sync")
    with async_client_in_its_place() if kind == "async" else nullcontext():
        yield kind


@pytest.fixture(scope="module")
def client(target: str, client_kind: str) -> Iterator[gradserve.Client]:
    """A client of that server."""
    with gradserve.Client(target) as opened:
        yield opened


@pytest.fixture(scope="session")
def durable_target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where another server listens, with the bundled models too, that keeps what it is given on disk."""
    with start_server("--examples", data_dir=tmp_path_factory.mktemp("data")) as running:
        yield running.target
        assert "internal error" not in running.log()
        assert "Traceback" not in running.log()


@pytest.fixture(scope="module")
def durable_client(durable_target: str, client_kind: str) -> Iterator[gradserve.Client]:
    """A client of that server."""
    with gradserve.Client(durable_target) as opened:
        yield opened
