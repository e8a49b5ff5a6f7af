"""What a caller asks of a model, and where he asks it from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from gradserve_server.batching.operation import Operation

CallT = TypeVar("CallT")
ResultT = TypeVar("ResultT")
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
        operation: What is asked.
        call: With what.
        reply: Makes the reply of a result and the version that computed it; called on the thread that computes.
        origin: Who asks, and until when.
        if_version: The version that he expects, compared when the request is computed; None for any.
    """

    operation: Operation[CallT, ResultT]
    call: CallT
    reply: Callable[[ResultT, int], ReplyT]
    origin: Origin
    if_version: int | None = None
