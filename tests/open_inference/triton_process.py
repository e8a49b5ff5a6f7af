"""PyTriton serving what Gradserve serves, where the environment is that `python -m benchmarks.peers pytriton` makes."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import grpc
import pytest

from benchmarks.peers.catalogue import PEERS
from benchmarks.peers.environments import DEFAULT_FOLDER, Environments
from gradserve_server.open_inference import grpc_service_pb2, grpc_service_pb2_grpc
from tests.support.waiting import seconds_until

_START_SECONDS = 200
_STOP_SECONDS = 30
_SERVER = Path(__file__).with_name("pytriton_server.py")


@contextmanager
def serving(models: tuple[str, ...], folder: Path) -> Iterator[str]:
    """Serve until the block ends; give "HOST:PORT".

    Without the environment the test is skipped, or fails if PYTRITON says that it must be there.
    """
    (peer,) = (peer for peer in PEERS if peer.name == "pytriton")
    environments = Environments(DEFAULT_FOLDER)
    if not environments.is_ready(peer):
        message = "PyTriton is not installed: make pytriton"
        (pytest.fail if os.environ.get("PYTRITON") == "required" else pytest.skip)(message)
    port = _free_port()
    with (folder / "pytriton.log").open("wb") as log:
        command = [environments.python(peer), _SERVER, str(port)]
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        process = subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=log)
    try:
        seconds_until(lambda: process.poll() is not None or _serves(f"127.0.0.1:{port}", models), _START_SECONDS)
        assert process.poll() is None, (folder / "pytriton.log").read_text()
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        finally:
            process.kill()


def _serves(target: str, models: tuple[str, ...]) -> bool:
    with grpc.insecure_channel(target) as channel, suppress(grpc.RpcError):
        stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
        requests = [grpc_service_pb2.ModelReadyRequest(name=model) for model in models]
        return all(stub.ModelReady(request, timeout=5).ready for request in requests)
    return False


def _free_port() -> int:
    """The first of three in a row that are free."""
    while True:
        with suppress(OSError), ExitStack() as stack:
            first = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            port: int = first.getsockname()[1]
            for other in (port + 1, port + 2):
                stack.enter_context(socket.create_server(("127.0.0.1", other)))
            return port
