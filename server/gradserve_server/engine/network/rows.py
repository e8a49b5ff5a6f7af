"""The rows of several requests in one tensor: joined to compute, parted to answer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from gradserve_server.engine.network.shapes import Shape
from gradserve_server.engine.tensors import to_torch
from gradserve_server.operations.arrays import Array

RowsT = TypeVar("RowsT", Tensor, Array)


def join(arrays: Sequence[Array], row: Shape, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Arrays [..., *row], none of them empty, one behind the other in a tensor [N, *row].

    One that needs no conversion keeps its memory: what comes of this is not to be written to.
    """
    if len(arrays) == 1:
        return rows_of(arrays[0], row, dtype, device)
    if len({array.dtype for array in arrays}) == 1:
        joined = to_torch(_behind_each_other(arrays, row), device)
    else:
        joined = torch.cat([to_torch(array.reshape(-1, *row), device).to(dtype) for array in arrays])
    return joined if joined.dtype == dtype else joined.to(dtype)


def rows_of(array: Array, row: Shape, dtype: torch.dtype, device: torch.device) -> Tensor:
    """What `join` makes of a single array."""
    rows = to_torch(array if array.ndim == len(row) + 1 else array.reshape(-1, *row), device)
    return rows if rows.dtype is dtype else rows.to(dtype)


def _behind_each_other(arrays: Sequence[Array], row: Shape) -> Array:
    # NumPy lets go of the interpreter's lock for each array, and has to wait for it again where the event loop is busy.
    try:
        joined = b"".join([array.data for array in arrays])
    except (TypeError, ValueError):  # They do not lie row by row, or Python has no name for their dtype.
        return np.concatenate([array.reshape(-1, *row) for array in arrays])
    return np.frombuffer(joined, arrays[0].dtype).reshape(-1, *row)


def spans(counts: Sequence[int]) -> list[slice | None]:
    """Where each part of so many rows lies in what was joined of them; None for a part that is all of it."""
    if len(counts) == 1:
        return [None]
    return [slice(start, stop) for start, stop in pairwise(accumulate(counts, initial=0))]


def part(joined: RowsT, rows: slice | None) -> RowsT:
    """The rows in a span."""
    return joined if rows is None else joined[rows]
