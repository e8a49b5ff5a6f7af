"""How one call of many ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeAlias

import grpc

__all__ = ["Answer", "Ending", "Send"]


class Ending(NamedTuple):
    """What a call came to.

    Attributes:
        code: The name of its status, such as "OK".
        pushback: The trailer `grpc-retry-pushback-ms`: when to try again; None where there is none.
    """

    code: str = grpc.StatusCode.OK.name
    pushback: str | None = None


class Answer(NamedTuple):
    """A call with its times, in seconds since the load began.

    Attributes:
        intended: When it was to be sent; in a closed loop, when it was.
        sent: When it was sent.
        done: When it ended.
        code: As in `Ending`.
        pushback: As in `Ending`.
    """

    intended: float
    sent: float
    done: float
    code: str
    pushback: str | None

    @property
    def latency(self) -> float:
        """Seconds from the time at which it was to be sent: what waited in the client counts."""
        return self.done - self.intended


Send: TypeAlias = Callable[[], Awaitable[Ending]]
"""Makes one call and tells how it ended; it does not raise for a call that failed."""
