"""The arrays of requests and results, and which dtypes count as what."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
"""An array of one of the wire's dtypes; bfloat16 is `ml_dtypes.bfloat16`."""

FLOATING = ("float16", "bfloat16", "float32", "float64")
"""The names of the dtypes that models compute in."""


class Typed(Protocol):
    """Whatever has a NumPy dtype."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype."""
        ...


def is_floating(tensor: Typed) -> bool:
    """Whether the dtype is one that models compute in."""
    return tensor.dtype.name in FLOATING


def is_integer(tensor: Typed) -> bool:
    """Whether the dtype is of integers; bool does not count."""
    return bool(np.issubdtype(tensor.dtype, np.integer))
