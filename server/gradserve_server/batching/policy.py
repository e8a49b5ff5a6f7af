"""What is computed where and when: decided from what is passed in alone, without clock, queue or thread."""

from __future__ import annotations

from typing import Final

from gradserve_server.facts import ReleaseReason

_TINY: Final = 65_536
_SMALL: Final = 4_194_304
_SEEN_AGAIN: Final = 16

_SHARE_OF_DEADLINE: Final = 0.8


def is_tiny(cost: int) -> bool:
    """Whether work is done right where it arrives, on the event loop: to hand it to a thread would cost more.

    Args:
        cost: In multiply-adds.
    """
    return cost <= _TINY


def is_small(cost: int) -> bool:
    """Whether work may be done where it arrives for a caller who is alone: it holds up the loop for some 200 us.

    Args:
        cost: In multiply-adds.
    """
    return cost <= _SMALL


def is_lone(*, last_batch: int, at_once: int) -> bool:
    """Whether the requests to a model seem to come from one caller who waits for each answer before he asks again.

    What is computed on the event loop keeps it from seeing who else has come. So now and then a request of a caller who
    seems to be alone goes to the device's thread: if he is not, others come in the meantime, and make the next batch.

    Args:
        last_batch: How many requests the last batch on the device's thread had; 0 before the first.
        at_once: How many requests have been computed on the event loop since then.
    """
    return last_batch <= 1 and at_once < _SEEN_AGAIN


def release(rows: int, waited: float, *, max_rows: int, max_delay: float, draining: bool) -> ReleaseReason | float:
    """Whether to compute what waits, the device being free.

    Args:
        rows: That wait.
        waited: Since the oldest came, in seconds.
        max_rows: Of one batch.
        max_delay: How long the oldest may wait for others, in seconds.
        draining: Whether the server is stopping, and nobody is to wait for others any more.

    Returns:
        Why to do it now, or the seconds to wait before asking again.
    """
    if rows >= max_rows:
        return "full"
    if max_delay <= 0:
        return "idle"
    if draining:
        return "drain"
    return "window" if waited >= max_delay else max_delay - waited


def is_hopeless(wait: float, left: float) -> bool:
    """Whether an answer would come too late.

    Args:
        wait: The estimated seconds until it is computed.
        left: The seconds until its deadline, of which a fifth is kept for what is not foreseen.
    """
    return wait > left * _SHARE_OF_DEADLINE
