"""What the tests of deployment may ask for: Prometheus's two programs, which are not Python packages."""

import os
import shutil

import pytest


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
