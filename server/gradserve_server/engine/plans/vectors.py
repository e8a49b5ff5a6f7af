"""Tensors of a request that hold several vectors, one behind the other."""

from __future__ import annotations

from gradserve_server.engine.network.shapes import Shape
from gradserve_server.errors import InvalidArgument


def check_batched(sent: Shape, shape: Shape, field: str) -> None:
    """Refuse a tensor that does not hold several of a shape, one behind the other.

    Raises:
        InvalidArgument: If it does not.
    """
    if not sent or sent[0] < 1 or sent[1:] != shape:
        wanted = ", ".join(("K", *map(str, shape)))
        raise InvalidArgument(f"must have shape [{wanted}] with K > 0, got {list(sent)}", field=f"{field}.shape")
