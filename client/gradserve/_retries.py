"""Repeats what gRPC cannot repeat by itself, by the policy that it has for the other calls."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

from gradserve._errors import Error, ResourceExhaustedError, UnavailableError

T = TypeVar("T")

_ATTEMPTS: Final = 5
_INITIAL_BACKOFF: Final = 0.1
_MAX_BACKOFF: Final = 2.0
_JITTER: Final = 0.2


def retried(attempt: Callable[[], T]) -> T:
    """Make an attempt, and up to four more while the server cannot be reached or asks to try again.

    Args:
        attempt: May be made again without harm: it changes nothing, or it carries a request id.

    Raises:
        Error: The last attempt failed, or one in a way that will not change.
    """
    for number in range(1, _ATTEMPTS):
        try:
            return attempt()
        except (UnavailableError, ResourceExhaustedError) as error:
            pause = pause_after(error, number)
            if pause is None:
                raise
        time.sleep(pause)
    return attempt()


def pause_after(error: Error, number: int) -> float | None:
    """Return how many seconds to wait after so many attempts have failed, the last with this error; None to give up."""
    if error.retry_after is not None:
        return error.retry_after
    if not isinstance(error, UnavailableError):
        return None
    backoff: float = min(_INITIAL_BACKOFF * 2 ** (number - 1), _MAX_BACKOFF)
    # Callers that failed together must not come back together.
    return backoff * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - nothing is kept secret by it
