"""Ends a call in which nothing moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Protocol

from gradserve._errors import DeadlineExceededError


class Cancellable(Protocol):
    """What a guard needs of a call."""

    def cancel(self) -> bool:
        """End it."""


class StallGuard:
    """Cancels a call if nothing moves for some time: a long transfer may last as long as it goes on.

    Args:
        seconds: How long nothing may move; None for ever.
        call_id: The call's id.
    """

    def __init__(self, seconds: float | None, call_id: str) -> None:
        self._seconds: Final = seconds
        self._call_id: Final = call_id
        self._timeout: Final = asyncio.timeout(seconds)

    def touch(self) -> None:
        """Take note that something has moved."""
        # What is expired stays so: the task is about to hear of it.
        if self._seconds is not None and not self._timeout.expired():
            self._timeout.reschedule(asyncio.get_running_loop().time() + self._seconds)

    @asynccontextmanager
    async def watching(self, call: Cancellable) -> AsyncIterator[None]:
        """Watch over a call inside the block, and end it with the block.

        Raises:
            DeadlineExceededError: Nothing has moved.
        """
        try:
            async with self._timeout:
                yield
        except TimeoutError as error:
            if not self._timeout.expired():
                raise
            raise DeadlineExceededError(f"nothing has moved for {self._seconds} s", call_id=self._call_id) from error
        finally:
            call.cancel()
