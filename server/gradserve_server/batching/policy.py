"""What is computed where and when: decided from what is passed in alone, without clock, queue or thread."""

from __future__ import annotations

from typing import Final

from gradserve_server.facts import ReleaseReason

_TINY: Final = 65_536
_SMALL: Final = 4_194_304
_ROUND_TRIP: Final = 50e-6

_SHARE_OF_DEADLINE: Final = 0.8


def is_computed_at_once(cost: int, *, lone: bool, max_delay: float) -> bool:
    """Whether work is done right where it arrives, on the event loop, rather than on the device's thread.

    Handing work to a thread and its result back costs about as much as 65,536 multiply-adds, so less than that is
    never worth it. Up to 4 million, some 200 us, the loop may do it where nobody else waits for the loop.

    Args:
        cost: In multiply-adds.
        lone: Whether the caller seems to be the only one.
        max_delay: How long a request may wait for others, in seconds: not at all, or work waits whatever it costs.
    """
    return max_delay <= 0 and (cost <= _TINY or (lone and cost <= _SMALL))


def is_lone(*, last_batch: int, since_last: float) -> bool:
    """Whether the requests to a model seem to come from one caller who waits for each answer before he asks again.

    Args:
        last_batch: How many requests the last batch had.
        since_last: The seconds between the last answer and this request. No answer reaches its caller and brings the
            next request in under 50 us: what arrives sooner was on its way before.
    """
    return last_batch <= 1 and since_last >= _ROUND_TRIP


def release(rows: int, waited: float, *, max_rows: int, max_delay: float) -> ReleaseReason | float:
    """Whether to compute what waits, the device being free.

    Args:
        rows: That wait.
        waited: Since the oldest came, in seconds.
        max_rows: Of one batch.
        max_delay: How long the oldest may wait for others, in seconds.

    Returns:
        Why to do it now, or the seconds to wait before asking again.
    """
    if rows >= max_rows:
        return "full"
    if max_delay <= 0:
        return "idle"
    return "window" if waited >= max_delay else max_delay - waited


def is_hopeless(wait: float, left: float) -> bool:
    """Whether an answer would come too late.

    Args:
        wait: The estimated seconds until it is computed.
        left: The seconds until its deadline, of which a fifth is kept for what is not foreseen.
    """
    return wait > left * _SHARE_OF_DEADLINE
