"""The size of a reply, known before anything is computed for it."""

from __future__ import annotations

import torch

from gradserve_server.config import Limits
from gradserve_server.errors import ResourceExhausted

_TENSOR_OVERHEAD = 256
"""Bytes of a reply for each tensor beside its data: name, shape and dtype, generously."""


def check_reply(limits: Limits, dtype: torch.dtype, elements: int, tensors: int, field: str, advice: str) -> None:
    """Refuse a reply that would be larger than a message may be.

    Args:
        limits: What a message may be.
        dtype: Of the reply's tensors.
        elements: Of all of them together.
        tensors: How many there are.
        field: The field of the request that makes it large.
        advice: What to do about it.

    Raises:
        ResourceExhausted: If it would be too large.
    """
    size = elements * dtype.itemsize + tensors * _TENSOR_OVERHEAD
    if size > limits.max_message_bytes:
        message = f"the reply would have {size} bytes; this server allows {limits.max_message_bytes}: {advice}"
        raise ResourceExhausted(message, field=field, reason="REPLY_TOO_LARGE")
