"""When to repeat what gRPC cannot repeat by itself: the policy that it has for the other calls."""

from __future__ import annotations

import random
from typing import Final

from gradserve._errors import Error, UnavailableError

ATTEMPTS: Final = 5
"""How often a call may be made in all."""

_INITIAL_BACKOFF: Final = 0.1
_MAX_BACKOFF: Final = 2.0
_JITTER: Final = 0.2


def pause_after(error: Error, number: int) -> float | None:
    """Return how many seconds to wait after so many attempts have failed, the last with this error; None to give up."""
    if error.retry_after is not None:
        return error.retry_after
    if not isinstance(error, UnavailableError):
        return None
    backoff: float = min(_INITIAL_BACKOFF * 2 ** (number - 1), _MAX_BACKOFF)
    # Callers that failed together must not come back together.
    return backoff * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - nothing is kept secret by it
