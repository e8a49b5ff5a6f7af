"""A remote model as torch's autograd sees it: functions whose derivatives are again among them.

    Forward(x, p) = y                  backward: Vjp              jvp: Jvp
    Vjp(v, x, p) = v J                 backward: Jvp and Hvp      jvp: Vjp and Hvp
    Jvp(t, x, p) = J t                 backward: Vjp and Hvp
    Hvp(v, t, x, p) = d(v J t)/d(x, p)

J is the Jacobian of the output y by the leaves: the input x and the parameters p. Each function makes one call, for no
more leaves than `wrt` names, and none for what is None. Under vmap, examples become rows of one call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import torch

from gradserve.torch._folding import Dims, Folding
from gradserve.torch._leaves import Indices, Leaves, MaybeTensor, PerLeaf, per_leaf, total, where
from gradserve.torch._remote_call import RemoteCall
from gradserve.torch._remote_function import Context, RemoteFunction, VmapInfo, keep

_INPUT: Indices = (0,)


class Forward(RemoteFunction):
    """The output."""

    @staticmethod
    def forward(call: RemoteCall, *leaves: torch.Tensor) -> torch.Tensor:
        return call.forward(leaves)

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Any, ...], output: object) -> None:  # noqa: ARG004 - torch's
        call, *leaves = inputs
        keep(ctx, call, (), leaves)

    @staticmethod
    def backward(ctx: Context, vector: MaybeTensor) -> PerLeaf:
        return (None, *_vjp(ctx.call, where(ctx.needs_input_grad[1:]), vector, ctx.saved_tensors))

    @staticmethod
    def jvp(ctx: Context, _: None, *tangents: MaybeTensor) -> MaybeTensor:
        return _jvp(ctx.call, tangents, ctx.saved_tensors)

    @staticmethod
    def vmap(info: VmapInfo, dims: Dims, call: RemoteCall, *leaves: torch.Tensor) -> tuple[torch.Tensor, int]:
        folding = Folding.of(info.batch_size, leaves, dims[1:], training=call.training)
        return folding.unfold(Forward.apply(call, *folding.leaves)), 0


class Vjp(RemoteFunction):
    """A vector times the Jacobians by some leaves."""

    @staticmethod
    def forward(call: RemoteCall, wrt: Indices, vector: torch.Tensor, *leaves: torch.Tensor) -> Leaves:
        return call.vjp(wrt, vector, leaves)

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Any, ...], output: object) -> None:  # noqa: ARG004 - torch's
        call, wrt, *tensors = inputs
        keep(ctx, call, wrt, tensors)

    @staticmethod
    def backward(ctx: Context, *tangents: MaybeTensor) -> PerLeaf:
        vector, *leaves = ctx.saved_tensors
        _, _, of_vector, *of_leaves = ctx.needs_input_grad
        directions = per_leaf(ctx.wrt, tangents, leaves)
        by_vector = _jvp(ctx.call, directions, leaves) if of_vector else None
        return (None, None, by_vector, *_hvp(ctx.call, where(of_leaves), vector, directions, leaves))

    @staticmethod
    def jvp(ctx: Context, _: None, __: None, vector_tangent: MaybeTensor, *tangents: MaybeTensor) -> PerLeaf:
        vector, *leaves = ctx.saved_tensors
        by_vector = _vjp(ctx.call, ctx.wrt, vector_tangent, leaves)
        by_leaves = _hvp(ctx.call, ctx.wrt, vector, tangents, leaves)
        return tuple(total(by_vector[index], by_leaves[index]) for index in ctx.wrt)

    @staticmethod
    def vmap(
        info: VmapInfo, dims: Dims, call: RemoteCall, wrt: Indices, vector: torch.Tensor, *leaves: torch.Tensor
    ) -> tuple[Leaves, Dims]:
        _, _, dim, *leaf_dims = dims
        if dim is not None and not where(leaf_dims) and (wrt != _INPUT or call.training):
            return BatchedVjp.apply(call, wrt, vector.movedim(dim, 0), *leaves), (0,) * len(wrt)
        folding = Folding.of(info.batch_size, leaves, leaf_dims, training=call.training)
        vectors = folding.fold(vector, dim)
        if wrt != _INPUT:
            folding.check_single_rows()
            return RowVjp.apply(call, wrt, vectors, *folding.leaves), (0,) * len(wrt)
        (gradient,) = Vjp.apply(call, wrt, vectors, *folding.leaves)
        return (folding.unfold(gradient),), (0,)


class BatchedVjp(RemoteFunction):
    """Several vectors, each times the Jacobians of the same output by some leaves."""

    @staticmethod
    def forward(call: RemoteCall, wrt: Indices, vectors: torch.Tensor, *leaves: torch.Tensor) -> Leaves:
        return call.vjp(wrt, vectors, leaves, is_grads_batched=True)

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Any, ...], output: object) -> None:
        """Keep nothing."""

    @staticmethod
    def backward(ctx: Any, *_: Any) -> NoReturn:  # noqa: ANN401 - whatever there is
        raise NotImplementedError(
            "several gradients at once, by parameters or in training, are not differentiated again: take them one by "
            "one"
        )

    jvp = vmap = backward


class RowVjp(BatchedVjp):
    """Several vectors, each times the Jacobians of its own row's output by some leaves."""

    @staticmethod
    def forward(call: RemoteCall, wrt: Indices, vectors: torch.Tensor, *leaves: torch.Tensor) -> Leaves:
        return call.vjp(wrt, vectors, leaves, per_sample=True)


class Jvp(RemoteFunction):
    """The Jacobians times tangents of some leaves."""

    @staticmethod
    def forward(call: RemoteCall, *tensors: MaybeTensor) -> torch.Tensor:
        return call.jvp(*_halves(tensors))

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Any, ...], output: object) -> None:  # noqa: ARG004 - torch's
        call, *tensors = inputs
        keep(ctx, call, (), tensors)

    @staticmethod
    def backward(ctx: Context, vector: MaybeTensor) -> PerLeaf:
        tangents, leaves = _halves(ctx.saved_tensors)
        of_tangents, of_leaves = _halves(ctx.needs_input_grad[1:])
        by_tangents = _vjp(ctx.call, where(of_tangents), vector, leaves)
        return (None, *by_tangents, *_hvp(ctx.call, where(of_leaves), vector, tangents, leaves))

    @staticmethod
    def jvp(ctx: Context, _: None, *tangents: MaybeTensor) -> MaybeTensor:
        by_tangents, by_leaves = _halves(tangents)
        if where(by_leaves):
            raise NotImplementedError(
                "forward-mode derivatives of forward-mode derivatives are not served: take one of the two in reverse "
                "mode, as torch.func.hessian does"
            )
        return _jvp(ctx.call, by_tangents, _halves(ctx.saved_tensors)[1])

    @staticmethod
    def vmap(info: VmapInfo, dims: Dims, call: RemoteCall, *tensors: MaybeTensor) -> tuple[torch.Tensor, int]:
        tangents, leaves = _halves(tensors)
        tangent_dims, leaf_dims = _halves(dims[1:])
        _check_input_only(where(tangents))
        folding = Folding.of(info.batch_size, leaves, leaf_dims, training=call.training)
        tangent = folding.fold(tangents[0], tangent_dims[0])
        return folding.unfold(Jvp.apply(call, tangent, *tangents[1:], *folding.leaves)), 0


class Hvp(RemoteFunction):
    """The gradient, by some leaves, of a vector times the Jacobians times tangents."""

    @staticmethod
    def forward(call: RemoteCall, wrt: Indices, vector: torch.Tensor, *tensors: Any) -> Leaves:  # noqa: ANN401 - two kinds
        return call.hvp(wrt, vector, *_halves(tensors))

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Any, ...], output: object) -> None:
        """Keep nothing."""

    @staticmethod
    def backward(ctx: Any, *_: Any) -> NoReturn:  # noqa: ANN401 - whatever there is
        raise NotImplementedError("third derivatives are not served")

    jvp = backward

    @staticmethod
    def vmap(
        info: VmapInfo,
        dims: Dims,
        call: RemoteCall,
        wrt: Indices,
        vector: torch.Tensor,
        *tensors: Any,  # noqa: ANN401
    ) -> tuple[Leaves, Dims]:
        tangents, leaves = _halves(tensors)
        tangent_dims, leaf_dims = _halves(dims[3:])
        _check_input_only(wrt, where(tangents))
        folding = Folding.of(info.batch_size, leaves, leaf_dims, training=call.training)
        vector, tangent = folding.fold(vector, dims[2]), folding.fold(tangents[0], tangent_dims[0])
        (product,) = Hvp.apply(call, wrt, vector, tangent, *tangents[1:], *folding.leaves)
        return (folding.unfold(product),), (0,)


def _vjp(call: RemoteCall, wrt: Indices, vector: MaybeTensor, leaves: Leaves) -> PerLeaf:
    """Return a vector times the Jacobians by some leaves; None for the others, and if there is no vector."""
    if vector is None or not wrt:
        return (None,) * len(leaves)
    return per_leaf(wrt, Vjp.apply(call, wrt, vector, *leaves), leaves)


def _jvp(call: RemoteCall, tangents: PerLeaf, leaves: Leaves) -> MaybeTensor:
    """Return the Jacobians times tangents; None if there are none."""
    return Jvp.apply(call, *tangents, *leaves) if where(tangents) else None


def _hvp(call: RemoteCall, wrt: Indices, vector: MaybeTensor, tangents: PerLeaf, leaves: Leaves) -> PerLeaf:
    """Return the gradient, by some leaves, of what `_jvp` returns times a vector; None for the others."""
    if vector is None or not (wrt and where(tangents)):
        return (None,) * len(leaves)
    return per_leaf(wrt, Hvp.apply(call, wrt, vector, *tangents, *leaves), leaves)


def _halves(values: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    middle = len(values) // 2
    return tuple(values[:middle]), tuple(values[middle:])


def _check_input_only(*which: Indices) -> None:
    if any(indices != _INPUT for indices in which):
        raise NotImplementedError("vmap over other derivatives by parameters than gradients")
