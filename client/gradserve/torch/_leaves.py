"""The leaves of a forward pass, and values that only some of them have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import torch

Leaves: TypeAlias = Sequence[torch.Tensor]
"""The input, then the parameters and the buffers."""
MaybeTensor: TypeAlias = torch.Tensor | None
PerLeaf: TypeAlias = tuple[MaybeTensor, ...]
"""One for each leaf, or None."""
Indices: TypeAlias = tuple[int, ...]
"""Which of the leaves."""


def where(values: Iterable[object]) -> Indices:
    """Return the indices of the values that are neither None nor False."""
    return tuple(index for index, value in enumerate(values) if value is not None and value is not False)


def per_leaf(indices: Indices, values: Iterable[MaybeTensor], leaves: Leaves) -> PerLeaf:
    """Return values at their indices, and None for the other leaves."""
    found = dict(zip(indices, values, strict=True))
    return tuple(found.get(index) for index in range(len(leaves)))


def total(one: MaybeTensor, other: MaybeTensor) -> MaybeTensor:
    """Return a sum in which None is zero."""
    if one is None or other is None:
        return other if one is None else one
    return one + other
