"""Products of vectors with a Hessian, by going backwards through the graph that its gradients have left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gradserve_server.engine.tensors import aligned

Named = Mapping[str, Tensor]
"""Tensors by the names of parameters, that of the input being "input"."""


def hessian_vector_products(
    gradients: Named, vectors: Named, leaves: Named, count: int | None, *, together: bool
) -> dict[str, Tensor]:
    """The Hessian's rows for some leaves, times vectors.

    Args:
        gradients: With respect to what there are vectors for, with their graph.
        vectors: Of the gradients' shapes, or each K of them along dimension 0.
        leaves: Those whose rows are wanted.
        count: K; None where there is one vector for each.
        together: Whether torch may compute the K products in one go.

    Returns:
        The products by leaf, of its shape, or [K, *shape].
    """
    # Where a gradient is the same everywhere, as that of a sum over a Linear, there is no way back from it.
    names = [name for name in vectors if gradients[name].requires_grad]
    if not names:
        leading = () if count is None else (count,)
        return {name: leaf.new_zeros((*leading, *leaf.shape)) for name, leaf in leaves.items()}
    roots, own = [gradients[name] for name in names], [vectors[name] for name in names]
    if count is None:
        return _products(roots, own, leaves)
    if together:
        try:
            products = _products(roots, own, leaves, batched=True)
        except RuntimeError:
            # What torch refuses for another reason than its batching rules, the loop will meet again.
            products = {}
        # Taken apart for a batch, some of torch's kernels turn an infinity into NaN.
        if products and all(bool(product.isfinite().all()) for product in products.values()):
            return products
    each = [_products(roots, [aligned(vector[index]) for vector in own], leaves) for index in range(count)]
    return {name: torch.stack([products[name] for products in each]) for name in leaves}


def _products(
    roots: Sequence[Tensor], vectors: Sequence[Tensor], leaves: Named, *, batched: bool = False
) -> dict[str, Tensor]:
    found = torch.autograd.grad(
        roots,
        list(leaves.values()),
        vectors,
        retain_graph=True,
        is_grads_batched=batched,
        allow_unused=True,
        materialize_grads=True,
    )
    return dict(zip(leaves, found, strict=True))
