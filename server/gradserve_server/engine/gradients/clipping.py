"""By how much gradients are scaled so that their norm is at most a given one."""

from __future__ import annotations

from torch import Tensor

_EPSILON = 1e-6


def clip_factors(norms: Tensor, max_norm: float) -> Tensor:
    """As torch.nn.utils.clip_grads_with_norm_ scales gradients of these 2-norms."""
    return (max_norm / (norms + _EPSILON)).clamp(max=1.0)
