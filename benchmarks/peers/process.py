"""A peer's server in processes of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import grpc

from benchmarks.h2load import ask
from benchmarks.nets import Net
from benchmarks.peers.catalogue import Peer
from benchmarks.peers.environments import Environments
from benchmarks.processes import CHECKOUT

_START_SECONDS = 300
_STOP_SECONDS = 20
_KNOCK_SECONDS = 0.2

# None of them is to tell its makers that it runs.
_QUIET = {"BENTOML_DO_NOT_TRACK": "True", "RAY_USAGE_STATS_ENABLED": "0"}


class SilentPeerError(Exception):
    """A peer's server that ends or is silent; its log may say why."""


@contextmanager
def serving(peer: Peer, net: Net, environments: Environments) -> Iterator[str]:
    """Serve a net until the block ends; give "HOST:PORT".

    Raises:
        SilentPeerError: The server does not answer.
    """
    port = _free_port()
    command = [str(environments.python(peer)), "-m", f"benchmarks.peers.servers.{peer.name}", net.name, str(port)]
    environ = {**os.environ, **_QUIET, "PYTHONPATH": str(CHECKOUT)}
    log = environments.folder / f"{peer.name}.log"
    with (
        tempfile.TemporaryDirectory() as folder,
        log.open("wb") as output,
        subprocess.Popen(  # noqa: S603 - its arguments are ours
            command, env=environ, cwd=folder, stdout=output, stderr=output, start_new_session=True
        ) as process,
    ):
        try:
            target = f"127.0.0.1:{port}"
            if not _answers(peer, net, target, process):
                raise SilentPeerError(f"{peer.title} does not answer: see {log}")
            yield target
        finally:
            _end(process)


def _answers(peer: Peer, net: Net, target: str, process: subprocess.Popen[bytes]) -> bool:
    endpoint = next(item for item in peer.comparisons if item.net == net).encoding.request(target, net)
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError, grpc.RpcError):
            ask(endpoint)
            return True
        threading.Event().wait(_KNOCK_SECONDS)
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """End all processes that the server has started."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _free_port() -> int:
    """The first of three ports in a row that are free: some servers take so many."""
    while True:
        with suppress(OSError), ExitStack() as stack:
            first = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            port: int = first.getsockname()[1]
            for other in (port + 1, port + 2):
                stack.enter_context(socket.create_server(("127.0.0.1", other)))
            return port
