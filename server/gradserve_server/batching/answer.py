"""The answer to a request that waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from gradserve_server.batching.request import Request


class Answer(asyncio.Future[Any]):
    """The future of a request's reply or refusal.

    Who cancels it gives the request up, and what that means is done at once: a callback would be called later, and for
    each answer, also for those that somebody gets.

    Attributes:
        request: What is to be answered.
    """

    __slots__ = ("_give_up", "request")

    def __init__(self, request: Request[Any, Any, Any], give_up: Callable[[Answer], None]) -> None:
        """Begin to wait.

        Args:
            request: What is to be answered.
            give_up: Called when somebody cancels it.
        """
        super().__init__()
        self.request = request
        self._give_up = give_up

    def cancel(self, msg: Any = None) -> bool:  # noqa: ANN401 - as asyncio has it
        """Give the request up; False if it has been answered already."""
        is_cancelled = super().cancel(msg)
        if is_cancelled:
            self._give_up(self)
        return is_cancelled
