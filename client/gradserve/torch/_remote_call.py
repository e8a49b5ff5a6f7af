"""The calls that a forward pass through a remote module, and its derivatives, are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from gradserve import Model
from gradserve.torch._leaves import Indices, Leaves, PerLeaf
from gradserve.torch._mirror import Mirror, unchanged_by_others


@dataclass(frozen=True)
class RemoteCall:
    """Computes with whatever leaves it is given: each call first sends the weights that the server has otherwise.

    What is differentiated is computed with the leaves of its forward pass, and with the same random numbers.

    Attributes:
        model: The handle.
        mirror: What the server has of the weights.
        names: Those of the leaves, "input" first.
        training: Whether layers such as Dropout behave as in training.
        seed: What they draw from; None where they draw nothing.
        deterministic: Whether to be bit-equal to torch in process.
    """

    model: Model
    mirror: Mirror
    names: Sequence[str]
    training: bool
    seed: int | None
    deterministic: bool

    def forward(self, leaves: Leaves) -> torch.Tensor:
        """Return the output."""
        with self._version(leaves) as version:
            return self.model.forward(
                leaves[0],
                training=self.training,
                seed=self.seed,
                if_version=version,
                deterministic=self.deterministic,
            )

    def vjp(
        self,
        wrt: Indices,
        vector: torch.Tensor,
        leaves: Leaves,
        *,
        is_grads_batched: bool = False,
        per_sample: bool = False,
    ) -> Leaves:
        """Return the vector, or each of several, or of the rows of one, times the Jacobians by some leaves."""
        with self._version(leaves) as version:
            gradients = self.model.gradient(
                leaves[0],
                grad_output=vector,
                wrt=[self.names[index] for index in wrt],
                is_grads_batched=is_grads_batched,
                per_sample=per_sample,
                training=self.training,
                seed=self.seed,
                if_version=version,
                deterministic=self.deterministic,
            )
        return self._of(gradients, wrt, leaves)

    def jvp(self, tangents: PerLeaf, leaves: Leaves) -> torch.Tensor:
        """Return the Jacobians times tangents."""
        with self._version(leaves) as version:
            return self.model.jvp(
                leaves[0],
                self._named(tangents),
                training=self.training,
                seed=self.seed,
                if_version=version,
                deterministic=self.deterministic,
            ).jvp

    def hvp(self, wrt: Indices, vector: torch.Tensor, tangents: PerLeaf, leaves: Leaves) -> Leaves:
        """Return the gradient, by some leaves, of the vector times the Jacobians times tangents."""
        with self._version(leaves) as version:
            products = self.model.hvp(
                leaves[0],
                None,
                self._named(tangents),
                grad_output=vector,
                wrt=[self.names[index] for index in wrt],
                training=self.training,
                seed=self.seed,
                if_version=version,
                deterministic=self.deterministic,
            )
        return self._of(products, wrt, leaves)

    @contextmanager
    def _version(self, leaves: Leaves) -> Iterator[int]:
        """Give the version of the weights, once the server has them."""
        with unchanged_by_others(self.model.name):
            yield self.mirror.sync(dict(zip(self.names[1:], leaves[1:], strict=True)))

    def _named(self, tensors: PerLeaf) -> dict[str, torch.Tensor]:
        return {name: tensor for name, tensor in zip(self.names, tensors, strict=True) if tensor is not None}

    def _of(self, by_name: Mapping[str, torch.Tensor], wrt: Indices, leaves: Leaves) -> Leaves:
        # Parameters may be on another device than the input.
        return tuple(by_name[self.names[index]].to(leaves[index].device) for index in wrt)
