"""An answer that is on its way."""

from __future__ import annotations

import time
from concurrent import futures
from contextlib import suppress
from typing import Final, TypeVar

from gradserve._errors import DeadlineExceededError

T = TypeVar("T")


class Future(futures.Future[T]):
    """The answer to one request of a stream: a `concurrent.futures.Future` that knows when the request's time is over.

    `result()` and `exception()` wait no longer than the request's own timeout, and then give DeadlineExceededError.
    `cancel()` gives the answer up; the server may compute it all the same.
    """

    def __init__(self, seconds: float | None = None) -> None:
        """Start to wait.

        Args:
            seconds: How long the answer may take; None for no limit.
        """
        super().__init__()
        self._seconds: Final = seconds
        self._deadline: Final = None if seconds is None else time.monotonic() + seconds

    def result(self, timeout: float | None = None) -> T:
        """Return the answer, once it is there.

        Args:
            timeout: Seconds to wait for it now; default: for as long as the request may take.

        Raises:
            Error: The request failed.
            TimeoutError: It is not there yet.
            concurrent.futures.CancelledError: It was given up.
        """
        try:
            return super().result(self._sooner(timeout))
        except TimeoutError:
            if not self._expire():
                raise
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return why the request failed, once that is known; None if it did not.

        Args:
            timeout: As in `result`.

        Raises:
            TimeoutError: It is not known yet.
            concurrent.futures.CancelledError: It was given up.
        """
        try:
            return super().exception(self._sooner(timeout))
        except TimeoutError:
            if not self._expire():
                raise
        return super().exception(0)

    def fail(self, error: Exception) -> None:
        """Settle it by an error, unless it is settled."""
        # It may be given up in this moment, or its time may be over.
        with suppress(futures.InvalidStateError):
            self.set_exception(error)

    def seconds_left(self) -> float | None:
        """Return how long the answer may still take; None for no limit."""
        return None if self._deadline is None else max(self._deadline - time.monotonic(), 0.0)

    def _sooner(self, timeout: float | None) -> float | None:
        left = self.seconds_left()
        return left if timeout is None or (left is not None and left < timeout) else timeout

    def _expire(self) -> bool:
        """Fail, unless there is time left or an answer; return whether there is no time left."""
        if self.seconds_left() != 0.0:
            return False
        self.fail(DeadlineExceededError(f"no answer within {self._seconds} s"))
        return True


def answer_of(future: Future[T]) -> T:
    """Return the answer, once it is there."""
    return future.result()


Future.__module__ = "gradserve"  # where users import it from
