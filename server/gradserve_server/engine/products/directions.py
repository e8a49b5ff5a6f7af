"""Tangents and vectors of requests: directions along the parameters and the input, by name."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from gradserve_server.config import Limits
from gradserve_server.engine.model import Model
from gradserve_server.engine.network.shapes import LAYERS_TOGETHER, Shape
from gradserve_server.engine.plans.input import InputPlan
from gradserve_server.engine.plans.vectors import check_batched
from gradserve_server.engine.tensors import aligned, to_torch
from gradserve_server.errors import InvalidArgument, ResourceExhausted
from gradserve_server.operations.arrays import Array, is_floating
from gradserve_server.selection import INPUT

# Where torch cannot compute them together, they are computed one after the other, and hold the device for as long.
_MOST = 16_384


def check_directions(
    directions: Mapping[str, Array], shapes: Mapping[str, Shape], field: str, *, batched: bool
) -> int | None:
    """Hold directions against the shapes of what they are directions of.

    Args:
        directions: By name.
        shapes: Of all that there can be directions of, by name.
        field: Where they stand in the request.
        batched: Whether each holds K directions along dimension 0.

    Returns:
        K, the same for all; None unless batched.

    Raises:
        InvalidArgument: If there is none, a name is unknown, or a dtype, a shape or a number K is wrong.
    """
    if not directions:
        raise InvalidArgument("at least one is required", field=field)
    count: int | None = None
    for name, direction in directions.items():
        path = f"{field}[{name}]"
        if (shape := shapes.get(name)) is None:
            raise InvalidArgument(f"there is no {name!r}; there are: {', '.join([*shapes][:10])}", field=path)
        if not is_floating(direction):
            message = f"must be floating, got {direction.dtype}: cast it, as torch would have you"
            raise InvalidArgument(message, field=f"{path}.dtype")
        count = _checked_count(direction.shape, shape, count, path) if batched else None
        if not batched and direction.shape != shape:
            raise InvalidArgument(f"must have shape {list(shape)}, got {list(direction.shape)}", field=f"{path}.shape")
    return count


def _checked_count(given: Shape, shape: Shape, count: int | None, path: str) -> int:
    """How many directions there are, if it is as many as there were before."""
    check_batched(given, shape, path)
    if count is not None and given[0] != count:
        raise InvalidArgument(f"holds {given[0]} directions where another holds {count}", field=f"{path}.shape")
    return given[0]


def check_count(count: int | None, plan: InputPlan, limits: Limits, field: str) -> None:
    """Refuse more directions than are computed for one request.

    Args:
        count: K; None for one that is not batched.
        plan: How the request's input is computed: once for each direction.
        limits: The server's.
        field: Where they stand in the request.

    Raises:
        ResourceExhausted: If there are too many, or too many elements between the layers for all of them.
    """
    if count is None:
        return
    most = min(_MOST, max(1, LAYERS_TOGETHER * limits.max_elements // max(1, plan.elements)))
    if count > most:
        message = f"at most {most} directions of such an input are taken at a time, got {count}"
        raise ResourceExhausted(message, field=field, reason="TOO_MANY_DIRECTIONS")


def shapes_of(model: Model, input_shape: Shape) -> dict[str, Shape]:
    """The shapes of all that there can be directions of."""
    return {name: tuple(parameter.shape) for name, parameter in model.parameters.items()} | {INPUT: input_shape}


def to_tensors(model: Model, directions: Mapping[str, Array], *, deterministic: bool) -> dict[str, Tensor]:
    """The directions on the model's device in its dtype."""
    tensors = {name: to_torch(array, model.device).to(model.dtype) for name, array in directions.items()}
    return {name: aligned(tensor) for name, tensor in tensors.items()} if deterministic else tensors
