"""torch's forward mode, made ready before anybody waits for it."""

from __future__ import annotations

import warnings

import torch
from torch.func import jvp


def set_up_forward_mode() -> None:
    """Have torch compile what its first use takes, a fifth of a second; once that is done, calls are free.

    To be called before other threads compute, as the warnings that are ignored meanwhile are those of the process.
    """
    # torch warns that it compiles in a way that it has itself deprecated.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        jvp(torch.sin, (torch.zeros(()),), (torch.zeros(()),))
