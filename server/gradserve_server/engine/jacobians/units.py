"""Unit vectors along all elements of several tensors, one tensor behind the other."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def units(leaves: Mapping[str, Tensor], first: int, last: int) -> dict[str, Tensor]:
    """The unit vectors of a range of elements: of each leaf a part [last - first, *shape]."""
    parts, start = {}, 0
    for name, leaf in leaves.items():
        part = torch.zeros(last - first, leaf.numel(), dtype=leaf.dtype, device=leaf.device)
        begin, end = max(first, start), min(last, start + leaf.numel())
        inside = torch.arange(begin, max(begin, end), device=leaf.device)
        part[inside - first, inside - start] = 1
        parts[name] = part.reshape(-1, *leaf.shape)
        start += leaf.numel()
    return parts


def parted(columns: Tensor, leaves: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What was found along all unit vectors, [..., elements], by leaf: each [..., *shape]."""
    parts = torch.split(columns, [leaf.numel() for leaf in leaves.values()], -1)
    shapes = [(*columns.shape[:-1], *leaf.shape) for leaf in leaves.values()]
    return {name: part.reshape(shape) for name, part, shape in zip(leaves, parts, shapes, strict=True)}
