"""How the process gets memory, and gets rid of it."""

from __future__ import annotations

import gc

_SEVERAL_CHUNKS_BYTES = 8 * 1024**2

_MOST_NEW_OBJECTS = 10_000
"""More than the calls in flight of a busy server have, so that what comes and goes with them is not looked at."""


def keep_freed_messages() -> None:
    """Have the memory of a message used again for the next. It only saves time: nothing depends on it.

    glibc returns a block of a message's size to the system when it is freed, and for the next one the system makes
    new pages, one fault for each 4 KiB. Once it has seen a larger block freed, it keeps what is smaller, and up to
    twice that size of free memory (M_MMAP_THRESHOLD of mallopt(3)); weights are larger, and go back as before.
    """
    bytearray(_SEVERAL_CHUNKS_BYTES)


def collect_less() -> None:
    """Have the garbage collector walk through fewer objects, and less often. It only saves time: nothing depends on it.

    The modules of torch and gRPC are some 300,000 objects that stay to the end. To walk through them all takes 150 ms,
    in which no call is answered, and without them less than one. Of what comes later gRPC leaves six small objects for
    each call that only the collector can free. By Python's own threshold of 700 it would look some 400 times a second,
    mostly at calls in flight, which free themselves; now it looks some five times, for two milliseconds each.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_MOST_NEW_OBJECTS)
