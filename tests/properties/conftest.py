"""The size of the property tests, `--properties=full`, and the table that they print."""

from __future__ import annotations

import random
from collections.abc import Iterator

import grpc
import pytest
import torch

from gradserve.v1 import model_pb2
from tests.properties.effort import Effort, Tally
from tests.properties.wire import Stubs

DEVICES = ("cpu", "cuda:0", "mps")
_REPORT = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--properties",
        choices=["brief", "full"],
        default="brief",
        help="How many random cases the property tests draw.",
    )
    parser.addoption(
        "--properties-seed", type=int, default=None, help="What a full run draws its cases from; random without it."
    )


@pytest.fixture(scope="session")
def effort(pytestconfig: pytest.Config) -> Effort:
    """A brief run is the same each time; a full one draws a new seed, and tells it."""
    # Without tests/properties on the command line pytest reads this file too late for its options.
    if pytestconfig.getoption("properties", default="brief") == "brief":
        return Effort(
            forward_cases=6,
            gradient_cases=10,
            vector_cases=60,
            jvp_cases=2,
            hvp_cases=2,
            weighted_hvp_cases=20,
            mixes=25,
            floor=1,
            seed=0,
        )
    seed = pytestconfig.getoption("properties_seed", default=None)
    return Effort(
        forward_cases=40,
        gradient_cases=60,
        vector_cases=600,
        jvp_cases=40,
        hvp_cases=60,
        weighted_hvp_cases=400,
        mixes=400,
        floor=20,
        seed=random.SystemRandom().randrange(10**6) if seed is None else seed,
    )


@pytest.fixture(scope="session")
def stubs(target: str) -> Iterator[Stubs]:
    # The Jacobian of a small model may be large.
    with grpc.insecure_channel(target, (("grpc.max_receive_message_length", 64 * 1024**2),)) as channel:
        yield Stubs.on(channel)


@pytest.fixture(scope="session")
def server_info(stubs: Stubs) -> model_pb2.GetServerInfoResponse:
    return stubs.models.GetServerInfo(model_pb2.GetServerInfoRequest(), timeout=20)


@pytest.fixture(scope="session", params=DEVICES)
def device(request: pytest.FixtureRequest, server_info: model_pb2.GetServerInfoResponse) -> str:
    """Each device that a server may have; those that this one lacks are skipped."""
    name: str = request.param
    if name not in {device.name for device in server_info.devices}:
        pytest.skip(f"this host has no {name.partition(':')[0]}")
    return name


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config, effort: Effort, server_info: model_pb2.GetServerInfoResponse) -> list[str]:
    """Lines to print at the end."""
    torch.set_num_threads(server_info.num_threads)
    heading = f"seed {effort.seed}; torch {torch.__version__} here, {server_info.torch_version} in the server; "
    lines = [heading + f"{torch.get_num_threads()} thread(s) here, {server_info.num_threads} in the server"]
    return pytestconfig.stash.setdefault(_REPORT, lines)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.getoption("properties", default="brief") == "full" and (lines := config.stash.get(_REPORT, [])):
        terminalreporter.section("what the property tests drew")
        terminalreporter.write_line("\n".join(lines))


@pytest.fixture(scope="session")
def forward_tally(device: str, report: list[str]) -> Iterator[Tally]:
    """The count of the cases of Forward on one device, printed at the end of the session."""
    tally = Tally(f"Forward on {device}")
    yield tally
    report.extend(tally.table())


@pytest.fixture(scope="session")
def gradient_tally(device: str, report: list[str]) -> Iterator[Tally]:
    """The count of the cases of Gradient on one device, printed at the end of the session."""
    tally = Tally(f"Gradient on {device}")
    yield tally
    report.extend(tally.table())


@pytest.fixture(scope="session")
def jvp_tally(device: str, report: list[str]) -> Iterator[Tally]:
    """The count of the cases of Jvp on one device, printed at the end of the session."""
    tally = Tally(f"Jvp on {device}")
    yield tally
    report.extend(tally.table())


@pytest.fixture(scope="session")
def hvp_tally(device: str, report: list[str]) -> Iterator[Tally]:
    """The count of the cases of Hvp on one device, printed at the end of the session."""
    tally = Tally(f"Hvp on {device}")
    yield tally
    report.extend(tally.table())
