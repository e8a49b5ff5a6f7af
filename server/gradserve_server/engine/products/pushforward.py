"""Jacobian-vector products of a model, by torch's forward-mode derivatives."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias

import torch
from torch import Tensor
from torch.func import jvp, vmap

from gradserve_server.engine.model import Model
from gradserve_server.engine.tensors import aligned
from gradserve_server.operations.calls import ForwardCall
from gradserve_server.selection import INPUT

Leaves: TypeAlias = Mapping[str, Tensor]
"""By parameter name, the input's under "input"."""

Push: TypeAlias = Callable[[Leaves], tuple[Tensor, Tensor]]
"""From tangents to the output and its tangent."""


def pushforward(model: Model, call: ForwardCall, names: Collection[str], seed: int | None) -> Push:
    """The model at the request's point, as a function of the tangents of what is named, alone."""
    value = model.leaf(call).to(model.dtype)
    point = {name: value if name == INPUT else model.parameters[name].detach() for name in names}

    def output_of(leaves: Leaves) -> Tensor:
        parameters = {name: leaf for name, leaf in leaves.items() if name != INPUT}
        return model.run(leaves.get(INPUT, value), training=call.training, parameters=parameters)

    def push(tangents: Leaves) -> tuple[Tensor, Tensor]:
        model.reseed(seed)
        # The third is for functions that return more than the output.
        output, product, *_ = jvp(output_of, (point,), (tangents,))
        return output, product

    return push


def push_all(push: Push, tangents: Leaves, count: int, *, deterministic: bool) -> tuple[Tensor, Tensor]:
    """The output, and the products [K, ...] of K tangents [K, *shape] of each leaf: one by one if deterministic."""
    if not deterministic:
        try:
            # The output does not depend on the tangents.
            return vmap(push, randomness="same", out_dims=(None, 0))(tangents)  # type: ignore[arg-type] # None is one
        except RuntimeError:
            # RReLU has no batching rule. What torch refuses for another reason, the loop will meet again.
            pass
    pairs = [push({name: aligned(tangent[index]) for name, tangent in tangents.items()}) for index in range(count)]
    return pairs[0][0], torch.stack([product for _, product in pairs])
