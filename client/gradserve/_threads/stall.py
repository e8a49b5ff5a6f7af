"""Ends a call in which nothing moves."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

import grpc

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
        self._moved = time.monotonic()
        self._over: Final = threading.Event()
        self._fired = False

    def touch(self) -> None:
        """Take note that something has moved. Any thread may say so."""
        self._moved = time.monotonic()

    @contextmanager
    def watching(self, call: Cancellable) -> Iterator[None]:
        """Watch over a call inside the block, and end it with the block.

        Raises:
            DeadlineExceededError: Nothing has moved.
        """
        watch = threading.Thread(target=self._watch, args=(call,), name="gradserve-stall-guard", daemon=True)
        if self._seconds is not None:
            watch.start()
        try:
            yield
        except (grpc.RpcError, grpc.FutureCancelledError) as error:
            if not self._fired:
                raise
            raise DeadlineExceededError(f"nothing has moved for {self._seconds} s", call_id=self._call_id) from error
        finally:
            self._over.set()
            call.cancel()

    def _watch(self, call: Cancellable) -> None:
        seconds = self._seconds or 0.0
        while not self._over.wait(self._moved + seconds - time.monotonic()):
            # It may have moved while this waited.
            if time.monotonic() - self._moved >= seconds:
                self._fired = True
                call.cancel()
                return
