"""Jacobians row by row, each as torch.func.jacrev or jacfwd gives it for that row alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.func import jacfwd, jacrev, jvp, vjp

from gradserve_server.engine.jacobians.plan import JacobianWork
from gradserve_server.engine.jacobians.units import parted, units
from gradserve_server.engine.model import Model
from gradserve_server.engine.products.pushforward import Leaves
from gradserve_server.operations.calls import JacobianMode
from gradserve_server.selection import INPUT


def by_row(model: Model, work: JacobianWork, _: int | None) -> tuple[Tensor, Mapping[str, Tensor]]:
    """The output, and the Jacobians [N, *output, *leaf] by name."""
    call, point = work.call, work.point
    batch = model.leaf(call).reshape(-1, *point.row)
    parameters = {name: model.parameters[name].detach() for name in work.selection.parameters}
    outputs, found = [], []
    for index in range(point.rows):
        row = batch[index : index + 1]
        leaves = {**parameters, INPUT: row} if work.selection.input else parameters

        def output_of(leaves: Leaves, row: Tensor = row) -> Tensor:
            own = {name: leaf for name, leaf in leaves.items() if name != INPUT}
            return model.run(leaves.get(INPUT, row), training=call.training, parameters=own)[0]

        with torch.no_grad():
            outputs.append(output_of(leaves))
        found.append(_of_row(output_of, leaves, work))
    return torch.stack(outputs), {name: torch.stack([row[name] for row in found]) for name in point.leaves}


def _of_row(output_of: Callable[[Leaves], Tensor], leaves: Leaves, work: JacobianWork) -> Leaves:
    reverse = work.mode is JacobianMode.REVERSE
    transform = jacrev(output_of, chunk_size=work.call.chunk_size) if reverse else jacfwd(output_of)
    try:
        found: Leaves = transform(leaves)
    except RuntimeError:
        # RReLU has no batching rule, nor has PReLU a right one. What torch refuses for another reason, this will too.
        return (_pulled if reverse else _pushed)(output_of, leaves)
    return found


def _pulled(output_of: Callable[[Leaves], Tensor], leaves: Leaves) -> Leaves:
    output, pull, *_ = vjp(output_of, leaves)
    vectors = torch.eye(output.numel(), dtype=output.dtype, device=output.device).reshape(-1, *output.shape)
    found = [pull(vector)[0] for vector in vectors]
    return {name: torch.stack([own[name] for own in found]) for name in leaves}


def _pushed(output_of: Callable[[Leaves], Tensor], leaves: Leaves) -> Leaves:
    count = sum(leaf.numel() for leaf in leaves.values())
    tangents = [units(leaves, index, index + 1) for index in range(count)]
    columns = [jvp(output_of, (leaves,), ({name: own[0] for name, own in tangent.items()},))[1] for tangent in tangents]
    return parted(torch.stack(columns, -1), leaves)
