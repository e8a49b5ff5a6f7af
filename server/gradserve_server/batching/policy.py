"""What is computed where and when: decided from what is passed in alone, without clock, queue or thread."""

from __future__ import annotations

from typing import Final

from gradserve_server.facts import ReleaseReason

_TINY: Final = 1_048_576
_SMALL: Final = 4_194_304
_SURE: Final = 8
_SEEN_AGAIN: Final = 64
_QUIET_TURNS: Final = 16
_MANY: Final = 128
_MUCH: Final = 268_435_456
_CPUS_TO_STAY_AWAKE: Final = 2

_SHARE_OF_DEADLINE: Final = 0.7

SECONDS_BETWEEN_LOOKS: Final = 0.001
"""How often requests that have come are taken in while the device is busy: together, and soon enough to refuse them."""


def is_tiny(cost: int) -> bool:
    """Whether a batch is computed on the event loop: to hand it to a thread would cost more.

    Args:
        cost: In multiply-adds.
    """
    return cost <= _TINY


def is_small(cost: int) -> bool:
    """Whether work may be done right where it arrives for a caller who is alone: it holds up the loop for some 200 us.

    Args:
        cost: In multiply-adds.
    """
    return cost <= _SMALL


def is_lone(*, singles: int, at_once: int) -> bool:
    """Whether the requests to a model seem to come from one caller who waits for each answer before he asks again.

    Who is alone need not wait to see who else comes. Under load, too, a batch may now and then have no more than one
    request, so it takes some in a row to be sure; and it is looked at again from time to time.

    Args:
        singles: How many batches in a row were one request behind which no other came.
        at_once: How many requests have been computed where they arrived since the last of them.
    """
    return singles >= _SURE and at_once < _SEEN_AGAIN


def busy_poll(configured: float, cpus: float) -> float:
    """How long to stay awake at most for a caller who is alone.

    Args:
        configured: What is asked for, in seconds.
        cpus: How many processors there are: on a single one gRPC's own threads, which bring the next request, would
            have to wait.
    """
    return configured if cpus >= _CPUS_TO_STAY_AWAKE else 0.0


def comes_again_soon(pause: float, seconds: float) -> bool:
    """Whether to stay awake for the next request of a caller who is alone: if the last one came soon after an answer.

    Args:
        pause: From the answer before until it came, in seconds.
        seconds: How long to stay awake at most; 0 for never.
    """
    return pause < seconds


def are_all_here(quiet_turns: int, *, requests: int, cost: int) -> bool:
    """Whether those have come who are just arriving, so that they can be computed together.

    gRPC hands over one call in a turn of the event loop, and not in each. A turn in which nothing happens takes few
    microseconds, so that a request behind which nobody comes waits for some tens of them. Where there is enough to do
    already, others can as well come while it is done.

    Args:
        quiet_turns: In how many turns of the loop no request has come.
        requests: How many wait.
        cost: Theirs together, in multiply-adds.
    """
    return quiet_turns >= _QUIET_TURNS or requests >= _MANY or cost >= _MUCH


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


def is_hopeless(seconds: float, left: float) -> bool:
    """Whether an answer would come too late.

    Args:
        seconds: The estimated time until it is computed.
        left: The seconds until its deadline, of which three tenths are kept for what is not foreseen.
    """
    return seconds > left * _SHARE_OF_DEADLINE
