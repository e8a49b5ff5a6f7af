"""What the store's callers are told when the disk refuses something."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from gradserve_server.errors import ResourceExhausted, ServiceError, Unavailable

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# The file may be sound and later be readable: no reason to call it damaged.
_TRANSIENT = {errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR}


@contextmanager
def told_as_refusals(what: str) -> Iterator[None]:
    """Turn what the disk refuses inside the block into a refusal of what the block does.

    Raises:
        ResourceExhausted: If the disk is full.
        Unavailable: If it fails in another way.
    """
    try:
        yield
    except OSError as error:
        raise refusal(what, error) from error


def refusal(what: str, error: OSError) -> ServiceError:
    """The refusal of something that the disk refused."""
    if error.errno in _FULL:
        return ResourceExhausted(f"cannot {what}: {explanation(error)}", reason="DISK_FULL")
    return Unavailable(f"cannot {what}: {explanation(error)}", reason="STORAGE_FAILED")


def explanation(error: OSError) -> str:
    """What went wrong, without paths of the server's disk."""
    return error.strerror or os.strerror(error.errno or errno.EIO)


def is_damage(error: OSError) -> bool:
    """Whether a file that cannot be read is lost or not what it was, and not just out of reach now."""
    return error.errno not in _TRANSIENT
