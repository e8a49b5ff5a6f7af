"""Vector-Jacobian products of many vectors with one forward, as many at a time as memory allows."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import torch
from torch import Tensor

from gradserve_server.engine.network.stack import Stack

# What all layers have put out, once for each vector that goes back at the same time.
_MOST_ELEMENTS = 2**24


class Pullback:
    """What a stack has made of an input, and the way back from vectors of its output's shape."""

    def __init__(self, stack: Stack, values: Sequence[Tensor]) -> None:
        """Take what `Stack.trace` gave of N rows."""
        self._stack = stack
        self._values = values
        self._most_at_once = max(1, _MOST_ELEMENTS // sum(value.numel() for value in values))

    def products(
        self,
        vectors: Tensor,
        parameters: AbstractSet[str],
        *,
        groups: int,
        to_input: bool,
        at_once: int | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Multiply vectors with the Jacobian.

        Args:
            vectors: K of them, [K, N, ...]; at least one.
            parameters: Whose gradients to compute.
            groups: In how many groups of equal size the rows are, each with gradients of its own.
            to_input: Whether the input's gradient is needed.
            at_once: The most vectors that go back together; None for as many as memory allows.

        Returns:
            The gradients [K, N, ...] of the input (if they are not needed, of a value between), and those of the
            parameters, each [K, groups, *shape].
        """
        size = self._most_at_once if at_once is None else min(at_once, self._most_at_once)
        parts = [
            self._together(part, parameters, groups=groups, to_input=to_input) for part in torch.split(vectors, size)
        ]
        if len(parts) == 1:
            return parts[0]
        grad_inputs, gradients = zip(*parts, strict=True)
        return torch.cat(grad_inputs), {name: torch.cat([part[name] for part in gradients]) for name in parameters}

    def _together(
        self, vectors: Tensor, parameters: AbstractSet[str], *, groups: int, to_input: bool
    ) -> tuple[Tensor, dict[str, Tensor]]:
        count = vectors.size(0)
        values = self._values if count == 1 else [_repeated(value, count) for value in self._values]
        grad_input, gradients = self._stack.backward_of_groups(
            values, vectors.flatten(0, 1), count * groups, parameters, to_input=to_input
        )
        parted = {name: gradient.reshape(count, groups, *gradient.shape[1:]) for name, gradient in gradients.items()}
        return grad_input.reshape(count, -1, *grad_input.shape[1:]), parted


def _repeated(value: Tensor, count: int) -> Tensor:
    return value.expand(count, *value.shape).flatten(0, 1)
