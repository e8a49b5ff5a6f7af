"""How the process gets memory for messages."""

from __future__ import annotations

# The largest block, rounded down, that glibc ever takes from memory that it keeps: M_MMAP_THRESHOLD of mallopt(3).
_LARGEST_KEPT_BYTES = 31 * 1024**2


def keep_freed_messages() -> None:
    """Have the memory of a message used again for the next. It only saves time: nothing depends on it.

    glibc returns a block of a message's size to the system when it is freed, and for the next one the system makes
    new pages, one fault for each 4 KiB. Once a larger block was freed, it keeps freed memory up to twice that size.
    """
    bytearray(_LARGEST_KEPT_BYTES)
