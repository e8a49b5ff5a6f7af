"""What a caller asks of a model, and where he asks it from."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from time import perf_counter
from typing import Generic, Protocol, TypeVar

from gradserve_server.batching.operation import Operation
from gradserve_server.facts import BatchFact
from gradserve_server.operations.calls import ForwardCall
from gradserve_server.operations.results import Result

CallT = TypeVar("CallT", bound=ForwardCall)
ResultT = TypeVar("ResultT", bound=Result)
ReplyT = TypeVar("ReplyT")


class Origin(Protocol):
    """Where a request comes from. It is asked only what is needed, as asking takes time."""

    @property
    def caller(self) -> str:
        """Who asks; those who ask for much take turns with those who ask for little."""

    @property
    def seconds_left(self) -> float | None:
        """The time to the call's deadline; None if it has none."""


@dataclass(slots=True, eq=False)
class Request(Generic[CallT, ResultT, ReplyT]):
    """One request.

    Attributes:
        model: The name of the model that is asked.
        operation: What is asked.
        read: Gives with what, or raises ServiceError where that cannot be read.
        reply: Makes the reply of a result and the version that computed it; called on the thread that computes.
        origin: Who asks, and until when.
        arrived: When it came, by `time.perf_counter`.
        context: That of its call, of which those who are told of its end may ask: it ends in whoever's turn.
        rows: How many rows were computed for it; 0 until then.
        queue_seconds: How long it waited to be computed; None until then.
        finite: Whether every number of its result is finite; True until there is one.
        batch: The batch that it was computed in; None until then.
    """

    model: str
    operation: Operation[CallT, ResultT]
    read: Callable[[], CallT]
    reply: Callable[[ResultT, int], ReplyT]
    origin: Origin
    arrived: float = field(default_factory=perf_counter)
    context: Context = field(default_factory=copy_context)
    rows: int = 0
    queue_seconds: float | None = None
    finite: bool = True
    batch: BatchFact | None = None

    def answer(self, result: ResultT, version: int) -> ReplyT:
        """The reply of a result."""
        self.finite = result.is_finite
        return self.reply(result, version)
