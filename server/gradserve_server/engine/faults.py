"""Errors after which a device computes nothing any more in this process."""

from __future__ import annotations

import re

import torch

# In the words of cudaGetErrorString, those errors of which CUDA's documentation says that the process must be ended
# and started again, and those of broken hardware. HIP has the same words for the ones that it knows.
_STICKY = re.compile(
    "device-side assert"
    "|illegal memory access"
    "|illegal instruction"
    "|misaligned address"
    "|invalid program counter"
    "|operation not supported on global/shared address space"
    "|hardware stack error"
    "|unspecified launch failure"
    "|launch timed out"
    "|context is destroyed"
    "|uncorrectable"
)


def is_sticky(error: BaseException) -> bool:
    """Whether every later use of the device will fail as this one did."""
    return isinstance(error, torch.AcceleratorError) and _STICKY.search(str(error)) is not None
