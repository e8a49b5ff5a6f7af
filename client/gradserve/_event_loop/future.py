"""An answer that is on its way."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from gradserve._errors import DeadlineExceededError

T = TypeVar("T")


class AsyncFuture(asyncio.Future[T]):
    """The answer to one request of an `AsyncStream`: an `asyncio.Future` that fails when the request's time is over.

    `await` gives the answer, or raises why there is none. `cancel()` gives it up, as does the end of a task that awaits
    it; the server may compute it all the same.
    """

    def __init__(self, seconds: float | None = None) -> None:
        """Start to wait.

        Args:
            seconds: How long the answer may take; None for no limit.
        """
        super().__init__()
        self._deadline = None if seconds is None else self.get_loop().time() + seconds
        if seconds is not None:
            late = DeadlineExceededError(f"no answer within {seconds} s")
            timer = self.get_loop().call_later(seconds, self.fail, late)
            self.add_done_callback(lambda _: timer.cancel())

    def fail(self, error: Exception) -> None:
        """Settle it by an error, unless it is settled."""
        if not self.done():
            self.set_exception(error)
            # An answer that nobody wants to know is no news for asyncio's log.
            self.exception()

    def seconds_left(self) -> float | None:
        """Return how long the answer may still take; None for no limit."""
        return None if self._deadline is None else max(self._deadline - self.get_loop().time(), 0.0)


async def answer_of(future: AsyncFuture[T]) -> T:
    """Return the answer, once it is there."""
    return await future


AsyncFuture.__module__ = "gradserve"  # where users import it from
