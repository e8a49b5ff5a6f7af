"""A request that was let in, with the future of its answer, and the batch that it ends in."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from time import perf_counter
from typing import Any

from gradserve_server.batching.answer import Answer
from gradserve_server.batching.request import Request
from gradserve_server.engine.work import Work
from gradserve_server.errors import DeadlineExceeded
from gradserve_server.facts import BatchFact, ReleaseReason
from gradserve_server.hosted import HostedModel


@dataclass(slots=True, eq=False)
class Entry:
    """A request that waits or is being computed.

    Attributes:
        answer: Set to the reply, or to why there is none.
        request: What is asked.
        hosted: The model that it was checked against.
        work: What the check made.
        deadline: When its answer is of no more use, by `time.perf_counter`.
        caller: Whose line it stands in.
        arrived: When it came, by the same clock.
        rows: What it adds to a batch.
        size: Its bytes.
        cost: Its multiply-adds, about.
        key: Equal for those that can be computed together; None if it must be computed alone.
    """

    answer: Answer
    hosted: HostedModel
    work: Work[Any]
    deadline: float
    caller: str
    request: Request[Any, Any, Any] = field(init=False)
    arrived: float = field(init=False)
    rows: int = field(init=False)
    size: int = field(init=False)
    cost: int = field(init=False)
    key: Hashable | None = field(init=False)

    def __post_init__(self) -> None:
        """Take its measures once, as the queue asks for them again and again."""
        self.request = self.answer.request
        self.arrived = self.request.arrived
        self.size = self.work.call.nbytes
        self._measure()

    def _measure(self) -> None:
        self.rows, self.cost = self.work.rows, self.work.cost
        self.key = None if self.work.key is None else (self.request.operation.name, self.work.key)

    @property
    def is_wanted(self) -> bool:
        """Whether anybody still waits for the answer. May be asked on any thread."""
        return not self.answer.done() and perf_counter() < self.deadline

    def check_again(self, hosted: HostedModel) -> None:
        """Check it against the model as it is when it is computed.

        Raises:
            DeadlineExceeded: If its time is over.
            ServiceError: If the model is at another version than expected, or has changed and now refuses it.
        """
        if perf_counter() >= self.deadline:
            raise too_late()
        hosted.check_read(self.work.call.if_version)
        if hosted is not self.hosted:
            self.work = self.request.operation.prepare(hosted.model, self.work.call)
            self.hosted = hosted
            self._measure()


@dataclass(frozen=True)
class Batch:
    """Entries on the device together.

    Attributes:
        hosted: The model at the version that computes them.
        entries: At least one.
        started: When, by `time.perf_counter`.
        reason: Why it was released then.
    """

    hosted: HostedModel
    entries: Sequence[Entry]
    started: float
    reason: ReleaseReason

    @cached_property
    def cost(self) -> int:
        """Its multiply-adds, about."""
        return sum(entry.cost for entry in self.entries)

    def fact(self, seconds: float) -> BatchFact:
        """What to tell of it once it has been computed for so long."""
        operation = self.entries[0].request.operation.name
        reason: ReleaseReason = self.reason if self.entries[0].key is not None else "single"
        rows = sum(entry.rows for entry in self.entries)
        return BatchFact(self.hosted.name, operation, reason, rows, seconds, self.hosted.version)


def too_late() -> DeadlineExceeded:
    """What a caller is told whose time was over before his request was computed."""
    return DeadlineExceeded("the deadline passed before the request was computed", reason="DEADLINE_EXCEEDED")
