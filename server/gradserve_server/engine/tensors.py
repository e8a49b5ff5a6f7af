"""NumPy arrays to torch tensors and back, without a copy where memory allows."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import torch

from gradserve_server.operations.arrays import Array

DTYPES: Mapping[str, torch.dtype] = {
    name: getattr(torch, name) for name in ("float16", "bfloat16", "float32", "float64")
}
"""The dtypes that models compute in, by name."""

_BFLOAT16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
_TORCH_DTYPES = {np.dtype(getattr(ml_dtypes, name, name)): dtype for name, dtype in DTYPES.items()}

# What a caller sent lies in read-only memory, and nothing here writes to an input. torch warns of such memory
# once in a process: have that once now.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch.from_numpy(np.frombuffer(b"\0", np.uint8))


def torch_dtype(dtype: np.dtype[Any]) -> torch.dtype:
    """The torch dtype of a floating NumPy dtype."""
    return _TORCH_DTYPES[dtype]


def dtype_name(dtype: torch.dtype) -> str:
    """The dtype's name without the prefix, such as "float32"."""
    return str(dtype).removeprefix("torch.")


def to_torch(array: Array, device: torch.device) -> torch.Tensor:
    """The array as a tensor of its own dtype on the device; on the CPU it shares the array's memory."""
    try:
        tensor = torch.from_numpy(array)
    except TypeError:  # NumPy itself has no bfloat16, and torch does not know that of ml_dtypes.
        tensor = torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return tensor if device.type == "cpu" else tensor.to(device)


def aligned(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in memory of torch's own, where a matrix product adds in the order that it does in process.

    MKL gives the same bits for the same values only at the same alignment (oneMKL Developer Guide, "Reproducibility
    Conditions"); a message's bytes lie anywhere.
    """
    return tensor.clone()


def to_numpy(tensor: torch.Tensor) -> Array:
    """The tensor's values as an array on the host."""
    host = tensor.detach().cpu() if tensor.requires_grad or not tensor.is_cpu else tensor
    try:
        return host.numpy()
    except TypeError:  # As above.
        return host.contiguous().view(torch.int16).numpy().view(_BFLOAT16)
