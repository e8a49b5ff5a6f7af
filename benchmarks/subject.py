"""Something that answers requests, and how fast it does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from benchmarks.calls import Call
from benchmarks.gradserve_process import GradserveProcess
from benchmarks.h2load import Concurrency, Endpoint, ask, drive, grpc_endpoint


@dataclass(frozen=True)
class Subject:
    """A server's answer to one request.

    Attributes:
        endpoint: What to send where.
        check: Raises a ValueError if the reply is wrong.
        answering: Checks, for a block in which so many are sent, that so many were answered well.
    """

    endpoint: Endpoint
    check: Callable[[bytes], None]
    answering: Callable[[int], AbstractContextManager[Any]] = nullcontext


def gradserve_subject(server: GradserveProcess, call: Call) -> Subject:
    """One of Gradserve's calls."""
    return Subject(grpc_endpoint(server.target, call.path, call.message), call.check, server.answering)


def bare_subject(target: str, call: Call) -> Subject:
    """The same call of a server that takes Gradserve's messages, and of which nobody knows what it counts."""
    return Subject(grpc_endpoint(target, call.path, call.message), call.check)


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
        self.subject.check(ask(self.subject.endpoint))
        if not self._rate:
            self._rate = self._drive(4 * self.concurrency.in_flight)
        self._rate = self._drive(max(self.concurrency.in_flight, round(self._rate * seconds)))
        return self._rate

    def _drive(self, requests: int) -> float:
        with self.subject.answering(requests):
            return drive(self.subject.endpoint, self.concurrency, requests)
