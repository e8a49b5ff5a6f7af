"""The dtypes of tensors by torch's names, and how values come into one."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import ml_dtypes
import numpy as np

__all__ = ["DTYPES", "FLOAT_DTYPES", "Array", "cast", "is_floating"]

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"

FLOAT_DTYPES: Final = ("float16", "bfloat16", "float32", "float64")
"""The floating dtypes, narrow to wide."""

DTYPES: Final = {
    "bool": np.dtype(np.bool_),
    "uint8": np.dtype(np.uint8),
    "int8": np.dtype(np.int8),
    "int16": np.dtype(np.int16),
    "int32": np.dtype(np.int32),
    "int64": np.dtype(np.int64),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
}
"""Every dtype of tensors."""


def cast(array: Array, name: str) -> Array:
    """Return the array in a dtype: rounded where that is floating, else unchanged in value.

    Raises:
        ValueError: An element cannot be kept exactly in an integer dtype, or as a bool.
    """
    with np.errstate(all="ignore"):
        result = array.astype(DTYPES[name])
    if name not in FLOAT_DTYPES and not np.array_equal(result, array):
        raise ValueError(f"an element cannot be kept exactly as {name}")
    return result


def is_floating(array: Array) -> bool:
    """Whether the elements are floating-point numbers. numpy itself does not know that bfloat16 is."""
    return array.dtype.name in FLOAT_DTYPES
