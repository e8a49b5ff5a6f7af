"""How torch.func.vmap becomes one call: its examples join the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch

from gradserve.torch._leaves import Leaves, where

Dims: TypeAlias = Sequence[int | None]
"""Where each tensor has the dimension that is mapped over; None where it has none."""


@dataclass(frozen=True)
class Folding:
    """Joins examples with the rows, and takes them apart again.

    Attributes:
        size: The number of examples.
        has_rows: Whether an example has rows. Layers such as Flatten and BatchNorm1d take the first dimension for
            those, so it is the one that grows, and an input keeps its rank.
        leaves: The input with all examples, and the parameters.
    """

    size: int
    has_rows: bool
    leaves: Leaves = ()

    @classmethod
    def of(cls, size: int, leaves: Leaves, dims: Dims, *, training: bool) -> Folding:
        """Return how inputs are folded.

        Args:
            size: The number of examples.
            leaves: One example's, or with a dimension that is mapped over.
            dims: Those.
            training: Whether layers behave as in training.

        Raises:
            NotImplementedError: Each example has parameters of its own, or rows are not computed one by one.
        """
        if where(dims[1:]):
            raise NotImplementedError("vmap over parameters: a server has one set of weights. Use a model for each")
        if training:
            raise NotImplementedError(
                "vmap in training, where layers draw random numbers or take rows together: the examples would not be "
                "independent. Put the module into evaluation"
            )
        folding = cls(size, leaves[0].dim() - len(where(dims[:1])) > 1)
        return replace(folding, leaves=(folding.fold(leaves[0], dims[0]), *leaves[1:]))

    def check_single_rows(self) -> None:
        """Check that each example is a row, which a server can tell the parameters' gradients of.

        Raises:
            NotImplementedError: Each is several.
        """
        if self.has_rows:
            raise NotImplementedError("vmap over gradients by parameters, of several rows each: map over single rows")

    def fold(self, tensor: torch.Tensor, dim: int | None) -> torch.Tensor:
        """Return a tensor with the examples among its rows; one that is the same for all is there for each."""
        front = tensor.expand(self.size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
        return front.flatten(0, 1) if self.has_rows else front

    def unfold(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a tensor with the examples in front of the rows."""
        return torch.unflatten(tensor, 0, (self.size, -1)) if self.has_rows else tensor
