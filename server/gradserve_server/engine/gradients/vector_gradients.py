"""Gradients for several vectors of one graph: torch.autograd.grad with `is_grads_batched`, and a loop without it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gradserve_server.errors import ResourceExhausted

# A loop holds the device for as long as it runs.
_MOST_LOOPED = 16_384


def vector_gradients(value: Tensor, leaves: Sequence[Tensor], vectors: Tensor) -> tuple[Tensor, ...]:
    """The gradients of each leaf, [K, *shape], for vectors [K, *value.shape]; the graph is kept.

    Raises:
        ResourceExhausted: If there are too many vectors for a loop, and torch has no other way.
    """
    try:
        return torch.autograd.grad(value, leaves, vectors, retain_graph=True, is_grads_batched=True)
    except RuntimeError:
        # Some layer or loss has no batching rule; what torch refuses for another reason, the loop will meet again.
        if vectors.size(0) > _MOST_LOOPED:
            message = f"takes at most {_MOST_LOOPED} vectors where they must go one by one, got {vectors.size(0)}"
            raise ResourceExhausted(message, field="grad_output.shape", reason="TOO_MANY_DIRECTIONS") from None
        rows = [torch.autograd.grad(value, leaves, vector, retain_graph=True) for vector in vectors]
        return tuple(torch.stack(column) for column in zip(*rows, strict=True))
