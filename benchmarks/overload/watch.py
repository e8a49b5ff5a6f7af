"""What is watched while a server is overloaded: its memory, and how soon it says that it is healthy."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.gradserve_process import GradserveProcess
from benchmarks.sampling import Sampled

_MEMORY_SECONDS = 0.1
_HEALTH_SECONDS = 0.1
_PATIENCE = 10.0


@dataclass(frozen=True)
class Watch:
    """Both, sampled.

    Attributes:
        memory: The server's anonymous memory, in bytes.
        health: The seconds that each health check took; infinite for one that failed.
    """

    memory: Sampled
    health: Sampled


@contextmanager
def watching(server: GradserveProcess) -> Iterator[Watch]:
    """Watch a server until the block ends."""
    with grpc.insecure_channel(server.target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)

        def check() -> float:
            start = time.monotonic()
            try:
                reply = stub.Check(health_pb2.HealthCheckRequest(), timeout=_PATIENCE)
            except grpc.RpcError:
                return math.inf
            serving = reply.status == health_pb2.HealthCheckResponse.SERVING
            return time.monotonic() - start if serving else math.inf

        with (
            Sampled(server.process.anonymous_bytes, _MEMORY_SECONDS) as memory,
            Sampled(check, _HEALTH_SECONDS) as health,
        ):
            yield Watch(memory, health)
