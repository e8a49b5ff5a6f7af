"""What the tests of the deployment may ask for: an engine, the image, its services, and Prometheus's programs."""

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.deploy.engine import Compose, docker


@pytest.fixture(scope="session")
def project() -> str:
    """A name for what these tests leave on the engine, until they end."""
    return f"gradserve-test-{os.getpid()}"


@pytest.fixture(scope="session")
def engine() -> None:
    """A Docker engine that answers. Without one there is nothing to test: a failure in CI, a skip elsewhere."""
    program = shutil.which("docker")
    if program is None or subprocess.run([program, "version"], capture_output=True, check=False).returncode:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("there is no Docker engine")


@pytest.fixture(scope="session")
def image(engine: None, project: str) -> Iterator[str]:
    """The image, built as the compose file says."""
    compose = Compose(project, f"{project}:latest")
    compose("build", "server")
    yield compose.image
    docker("image", "rm", compose.image)


@pytest.fixture(scope="session")
def compose(project: str, image: str) -> Iterator[Compose]:
    """The server and Prometheus, running."""
    services = Compose(project, image)
    try:
        services.up()
        yield services
        log = services("logs", "--no-color", "server")
        assert "internal error" not in log
        assert "Traceback" not in log
    finally:
        services("down", "--volumes")


@pytest.fixture(scope="session")
def promtool() -> str:
    """The path of promtool."""
    return _program("promtool")


@pytest.fixture(scope="session")
def prometheus_program() -> str:
    """The path of prometheus."""
    return _program("prometheus")


def _program(name: str) -> str:
    """Without it a test is skipped, and fails on the machine that decides."""
    path = shutil.which(name)
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{name} is not installed")
    return path
