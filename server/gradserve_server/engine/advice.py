"""What torch advises its programmers, and a server can do nothing about."""

from __future__ import annotations

import warnings

_ADVICE = (
    # From kl_div, which callers may well ask for with reduction "mean".
    "reduction: 'mean' divides the total loss",
    # From vmap, for losses that it computes row by row.
    "There is a performance drop because we have not yet implemented the batching rule",
)


def ignore_advice() -> None:
    """Keep torch's advice out of the log of a process. Every other warning stays."""
    for message in _ADVICE:
        warnings.filterwarnings("ignore", message)
