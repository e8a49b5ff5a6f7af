"""How the process gets memory, and gets rid of it."""

from __future__ import annotations

import gc

_SEVERAL_CHUNKS_BYTES = 8 * 1024**2


def keep_freed_messages() -> None:
    """Have the memory of a message used again for the next. It only saves time: nothing depends on it.

    glibc returns a block of a message's size to the system when it is freed, and for the next one the system makes
    new pages, one fault for each 4 KiB. Once it has seen a larger block freed, it keeps what is smaller, and up to
    twice that size of free memory (M_MMAP_THRESHOLD of mallopt(3)); weights are larger, and go back as before.
    """
    bytearray(_SEVERAL_CHUNKS_BYTES)


def keep_what_there_is() -> None:
    """Have the garbage collector pass over every object that there is now. It only saves time: nothing depends on it.

    The modules of torch and gRPC are some 300,000 objects that stay to the end. To walk through them all takes 150 ms,
    in which no call is answered, and without them less than one.
    """
    gc.collect()
    gc.freeze()
