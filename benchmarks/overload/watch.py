"""What is watched while a server is overloaded: its memory, and how soon it says that it is healthy."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.processes import ServerProcess
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


Probe: TypeAlias = Callable[[grpc.Channel], bool]
"""Asks a server whether it is well; raises a RpcError if it does not answer."""


def is_serving(channel: grpc.Channel) -> bool:
    """Whether a server says that it is healthy."""
    reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=_PATIENCE)
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)


def answers(path: str, message: bytes) -> Probe:
    """Whether a server that has no health answers a call."""

    def probe(channel: grpc.Channel) -> bool:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
        return isinstance(call(message, timeout=_PATIENCE), bytes)

    return probe


@contextmanager
def watching(server: ServerProcess, probe: Probe = is_serving) -> Iterator[Watch]:
    """Watch a server until the block ends."""
    with grpc.insecure_channel(server.target) as channel:

        def check() -> float:
            start = time.monotonic()
            try:
                is_well = probe(channel)
            except grpc.RpcError:
                return math.inf
            return time.monotonic() - start if is_well else math.inf

        with Sampled(server.anonymous_bytes, _MEMORY_SECONDS) as memory, Sampled(check, _HEALTH_SECONDS) as health:
            yield Watch(memory, health)
