"""Standard output: all of a text, or an error."""

from __future__ import annotations

import contextlib
import os
import sys

__all__ = ["is_terminal", "print_text"]


def is_terminal() -> bool:
    """Whether somebody reads along."""
    # Python has no standard output where the caller has closed it.
    return sys.stdout is not None and sys.stdout.isatty()


def print_text(text: str) -> None:
    """Print a text and a newline; what the encoding lacks is escaped.

    Raises:
        BrokenPipeError: Nobody reads it any more.
        OSError: It cannot be written, such as to a full disk.
    """
    if sys.stdout is None:
        return
    stream = sys.stdout.buffer
    rest = memoryview(f"{text}\n".encode(sys.stdout.encoding, "backslashreplace"))
    # Unbuffered (python -u), a write may stop halfway without an error, and Python's own print would leave it at that.
    try:
        while rest:
            rest = rest[stream.write(rest) :]
        stream.flush()
    except OSError:
        _discard()
        raise


def _discard() -> None:
    """Let what is still buffered go nowhere, so that Python does not try, and fail, to write it at exit."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
