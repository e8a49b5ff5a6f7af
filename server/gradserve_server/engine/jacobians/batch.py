"""Jacobians of all rows at once, by torch's own derivatives of the whole batch: rows stand for themselves."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from gradserve_server.engine.gradients.vector_gradients import vector_gradients
from gradserve_server.engine.jacobians.plan import JacobianWork
from gradserve_server.engine.jacobians.units import parted, units
from gradserve_server.engine.model import Model
from gradserve_server.engine.products.pushforward import push_all, pushforward
from gradserve_server.selection import INPUT

# Of all tangents that go forward at the same time, with what the layers make of them.
_MOST_ELEMENTS = 2**24


def by_directions(model: Model, work: JacobianWork, seed: int | None) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Forward mode: each element of what is differentiated by is a direction of all rows."""
    call, point = work.call, work.point
    like = {name: model.parameters[name].detach() for name in work.selection.parameters}
    if work.selection.input:
        like[INPUT] = torch.empty(point.row, dtype=model.dtype, device=model.device)
    push = pushforward(model, call, like, seed)
    size, outputs, columns = _tangents_at_once(work), [], []
    # As in Jvp: what is to be bit-equal to torch in process needs the tape there.
    with torch.set_grad_enabled(call.deterministic):
        for first in range(0, point.elements, size):
            count = min(size, point.elements - first)
            tangents = units(like, first, first + count)
            if work.selection.input:
                own = tangents[INPUT].reshape(count, *[1] * len(point.leading), *point.row)
                tangents[INPUT] = own.expand(count, *point.leading, *point.row)
            output, products = push_all(push, tangents, count, deterministic=call.deterministic)
            outputs.append(output)
            columns.append(products.movedim(0, -1))
    return outputs[0], parted(torch.cat(columns, -1), like)


def _tangents_at_once(work: JacobianWork) -> int:
    point = work.point
    each = point.elements + work.call.input.size + work.input.elements
    most = max(1, _MOST_ELEMENTS // each)
    return most if work.call.chunk_size is None else min(most, work.call.chunk_size)


def by_graph(model: Model, work: JacobianWork, _: int | None) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Reverse mode over the one graph of the batch, where random layers draw one mask for all of it."""
    call, point = work.call, work.point
    batch = model.leaf(call).requires_grad_(work.selection.input)
    output = model.run(batch, training=call.training)
    size = call.chunk_size or max(point.rows * point.outputs, 1)
    jacobians: dict[str, Tensor] = {}
    if work.selection.input:
        # An element of every row at once: none of them depends on the others.
        unit = torch.eye(point.outputs, dtype=model.dtype, device=model.device)[:, None]
        vectors = unit.expand(-1, point.rows, -1).reshape(-1, *output.shape)
        found = [vector_gradients(output, (batch,), part)[0] for part in torch.split(vectors, size)]
        jacobians[INPUT] = torch.cat(found).reshape(point.outputs, point.rows, -1).transpose(0, 1)
    if work.selection.parameters:
        leaves = [model.parameters[name] for name in work.selection.parameters]
        vectors = torch.eye(output.numel(), dtype=model.dtype, device=model.device).reshape(-1, *output.shape)
        parts = [vector_gradients(output, leaves, part) for part in torch.split(vectors, size)]
        joined = [torch.cat(column) for column in zip(*parts, strict=True)]
        jacobians |= dict(zip(work.selection.parameters, joined, strict=True))
    return output, jacobians
