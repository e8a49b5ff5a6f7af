"""The shapes that a model takes and gives, as far as its layers settle them."""

from __future__ import annotations

from gradserve_server.engine.capabilities.warm_up import accepted_shape
from gradserve_server.engine.model import Model
from gradserve_server.engine.network.shapes import Shape
from gradserve_server.errors import InvalidArgument, ResourceExhausted


def features(model: Model) -> tuple[Shape, Shape]:
    """The shapes of one row of the input and of one row of the output; -1 stands for any size.

    Raises:
        ServiceError: If the model takes no input at all.
    """
    _, *row = accepted_shape(model)
    taken, given = tuple(row), _output_row(model, tuple(row)) or ()
    # No layer takes both a width and its double, unless it takes any.
    wider = (*taken[:-1], 2 * taken[-1])
    if (also_given := _output_row(model, wider)) is None:
        return taken, given
    pairs = zip(given, also_given, strict=True)
    return (*taken[:-1], -1), tuple(size if size == other else -1 for size, other in pairs)


def _output_row(model: Model, row: Shape) -> Shape | None:
    try:
        return model.shapes.passage((1, *row), training=False).output_shape[1:]
    except (InvalidArgument, ResourceExhausted):
        return None
