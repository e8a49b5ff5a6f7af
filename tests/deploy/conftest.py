"""What the tests of the deployment may ask for: an engine, the image, and the services of the compose file."""

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
