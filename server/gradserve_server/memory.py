"""How the process gets memory for messages."""

from __future__ import annotations

_SEVERAL_CHUNKS_BYTES = 8 * 1024**2


def keep_freed_messages() -> None:
    """Have the memory of a message used again for the next. It only saves time: nothing depends on it.

    glibc returns a block of a message's size to the system when it is freed, and for the next one the system makes
    new pages, one fault for each 4 KiB. Once it has seen a larger block freed, it keeps what is smaller, and up to
    twice that size of free memory (M_MMAP_THRESHOLD of mallopt(3)); weights are larger, and go back as before.
    """
    bytearray(_SEVERAL_CHUNKS_BYTES)
