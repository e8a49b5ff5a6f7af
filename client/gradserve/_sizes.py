"""What fits the server's limits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from gradserve._arrays import Array
from gradserve._errors import FieldViolation, ResourceExhaustedError
from gradserve._results import Limits
from gradserve._state_requests import CHUNK_BYTES

# Below it the server is left to judge: learning its limits would cost more than the upload.
_LARGE_BYTES: Final = 1024 * 1024

FITS_EVERYWHERE_BYTES: Final = 32 * 1024
"""What can be sent in one message to any server: none has a limit below twice as much."""


def are_large(arrays: Sequence[Array]) -> bool:
    """Return whether the arrays are worth a check before they are sent."""
    return sum(array.nbytes for array in arrays) >= _LARGE_BYTES


def check(arrays: Sequence[Array], limits: Limits, max_message_bytes: int) -> None:
    """Check arrays, of which the first is the input, against the server's limits and the client's own.

    Raises:
        ResourceExhaustedError: A limit is exceeded.
    """
    rows = math.prod(arrays[0].shape[:-1])
    if rows > limits.max_rows:
        raise _too_large("TOO_MANY_ROWS", f"the input has {rows} rows; the server takes {limits.max_rows}")
    if arrays[0].size > limits.max_elements:
        message = f"the input has {arrays[0].size} elements; the server takes {limits.max_elements}"
        raise _too_large("TOO_MANY_ELEMENTS", message)
    size = sum(array.nbytes for array in arrays)
    allowed = min(limits.max_message_bytes, max_message_bytes)
    # A message is its arrays and a little more: one that is larger by only that little is left to gRPC to refuse.
    if size >= allowed:
        message = f"the arrays take {size} bytes, and a message {allowed} at most: send fewer rows at a time"
        raise _too_large("REQUEST_TOO_LARGE", message)


def chunk_bytes(limits: Limits, max_message_bytes: int) -> int:
    """Return the size of the chunks in which weights are sent: half a message, as a chunk is not all of its message."""
    return min(CHUNK_BYTES, limits.max_message_bytes // 2, max_message_bytes // 2)


def _too_large(reason: str, message: str) -> ResourceExhaustedError:
    violation = FieldViolation("input", message)
    return ResourceExhaustedError(message, reason=reason, field_violations=[violation])
