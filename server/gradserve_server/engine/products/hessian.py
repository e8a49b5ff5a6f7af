"""Products of vectors with a Hessian, by going backwards through the graph that its gradients have left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gradserve_server.engine.network.shapes import Shape
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
    roots, own = [gradients[name] for name in names], [vectors[name] for name in names]
    if count is None:
        return _materialised(_products(roots, own, leaves), leaves, ())
    if together:
        try:
            products = _products(roots, own, leaves, batched=True)
        except RuntimeError:
            # What torch refuses for another reason than its batching rules, the loop will meet again.
            pass
        else:
            # Taken apart for a batch, some of torch's kernels turn an infinity into NaN.
            if all(bool(product.isfinite().all()) for product in products.values()):
                return _materialised(products, leaves, (count,))
    each = [_products(roots, [aligned(vector[index]) for vector in own], leaves) for index in range(count)]
    stacked = {name: torch.stack([products[name] for products in each]) for name in each[0]}
    return _materialised(stacked, leaves, (count,))


def _products(roots: Sequence[Tensor], vectors: Sequence[Tensor], leaves: Named, *, batched: bool = False) -> Named:
    """The products of the leaves that the roots depend on."""
    if not roots:
        return {}
    found: Sequence[Tensor | None] = torch.autograd.grad(
        roots, list(leaves.values()), vectors, retain_graph=True, is_grads_batched=batched, allow_unused=True
    )
    return {name: product for name, product in zip(leaves, found, strict=True) if product is not None}


def _materialised(products: Named, leaves: Named, leading: Shape) -> dict[str, Tensor]:
    """The products of all leaves: zeros for those that are missing, and for torch's zeros without memory."""
    return {
        name: products[name].clone() if name in products else leaf.new_zeros((*leading, *leaf.shape))
        for name, leaf in leaves.items()
    }
