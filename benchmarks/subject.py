"""Something that answers requests, and how fast it does."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import grpc

from benchmarks.calls import Call
from benchmarks.gradserve_process import CHANNEL, GradserveProcess
from benchmarks.h2load import Concurrency, Endpoint, drive, grpc_endpoint

_SECONDS = 60


@dataclass(frozen=True)
class Subject:
    """A server's answer to one request.

    Attributes:
        endpoint: What to send where.
        ask: Sends it once and returns the reply.
        check: Raises a ValueError if the reply is wrong.
        answering: Checks, for a block in which so many are sent, that so many were answered well.
    """

    endpoint: Endpoint
    ask: Callable[[], bytes]
    check: Callable[[bytes], None]
    answering: Callable[[int], AbstractContextManager[Any]] = nullcontext


def gradserve_subject(server: GradserveProcess, call: Call) -> Subject:
    """One of Gradserve's calls."""
    endpoint = grpc_endpoint(server.target, call.path, call.message)
    return Subject(endpoint, lambda: ask_grpc(server.target, call.path, call.message), call.check, server.answering)


def ask_grpc(target: str, path: str, message: bytes) -> bytes:
    """Make one unary call; a status other than OK raises."""
    with grpc.insecure_channel(target, CHANNEL) as channel:
        method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
        return method(message, timeout=_SECONDS)


def ask_http(endpoint: Endpoint) -> bytes:
    """Make one POST."""
    headers = dict(header.split(": ", 1) for header in endpoint.headers)
    request = urllib.request.Request(endpoint.url, endpoint.body, headers)  # noqa: S310 - it is HTTP
    with urllib.request.urlopen(request, timeout=_SECONDS) as reply:  # noqa: S310 - as above
        return bytes(reply.read())


@dataclass
class Throughput:
    """How many requests a subject answers each second.

    Attributes:
        subject: What is measured.
        concurrency: How many requests are in flight.
    """

    subject: Subject
    concurrency: Concurrency
    _rate: float = field(default=0.0, init=False)

    def __call__(self, seconds: float) -> float:
        """Measure for about so long: the number of requests is fixed before, by the rate that the last time gave."""
        self.subject.check(self.subject.ask())
        if not self._rate:
            self._rate = self._drive(4 * self.concurrency.in_flight)
        self._rate = self._drive(max(self.concurrency.in_flight, round(self._rate * seconds)))
        return self._rate

    def _drive(self, requests: int) -> float:
        with self.subject.answering(requests):
            return drive(self.subject.endpoint, self.concurrency, requests)
