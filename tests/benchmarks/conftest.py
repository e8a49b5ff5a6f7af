"""What the tests of the benchmarks may ask for: an echo, and the load generator that is not a Python package."""

import os
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from benchmarks.processes import running


@pytest.fixture(scope="session")
def echo() -> Iterator[str]:
    """Where an echo listens."""
    with running("benchmarks.echo") as process:
        yield process.target


@pytest.fixture(scope="session")
def h2load() -> None:
    """Without h2load a test is skipped, and fails on the machine that decides."""
    if shutil.which("h2load") is None:
        message = "h2load is not installed (apt-get install nghttp2-client)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture
def http_server() -> Iterator[str]:
    """Where a server listens that has nothing to give."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
