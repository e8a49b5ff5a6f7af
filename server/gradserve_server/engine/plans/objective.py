"""What a request differentiates, checked before the values of its tensors are looked at."""

from __future__ import annotations

import math

from gradserve_server.engine.losses.binding import BoundLoss, bind
from gradserve_server.engine.losses.signature import LossSignature, TensorType
from gradserve_server.engine.network.shapes import Shape
from gradserve_server.engine.plans.vectors import check_batched
from gradserve_server.errors import InvalidArgument
from gradserve_server.operations.arrays import is_floating


def bind_objective(
    loss: LossSignature | None,
    vector: TensorType | None,
    output_shape: Shape,
    *,
    per_sample: bool | None = None,
    batched: bool = False,
) -> BoundLoss | None:
    """Check a loss, the vector `grad_output`, or the two together against the output that they will get.

    Args:
        loss: None for the output itself.
        vector: What it is weighted by; None for a loss that is reduced.
        output_shape: Of the output.
        per_sample: Whether each row is differentiated by itself, so that an unreduced loss of scalars needs no vector;
            None where nobody can ask for that.
        batched: Whether the vector is several, one behind the other.

    Returns:
        The loss; None for the output itself.

    Raises:
        InvalidArgument: If neither is there, one does not fit, or the two do not fit together.
    """
    if loss is None:
        if vector is None:
            raise InvalidArgument("either loss or grad_output is required", field="loss")
        _check_vector(vector, output_shape, batched=batched)
        return None
    bound = bind(loss, output_shape)
    if bound.reduction != "none":
        if vector is not None:
            message = "grad_output beside a loss needs reduction none, which leaves something to weight"
            raise InvalidArgument(message, field="grad_output")
    elif vector is not None:
        _check_vector(vector, bound.value_shape, batched=batched)
    elif not per_sample or math.prod(bound.value_shape[1:]) != 1:
        message = "reduction none leaves more than a scalar to differentiate: give grad_output"
        hint = ", or ask for per_sample" if per_sample is False else ""
        raise InvalidArgument(message + hint, field="loss.reduction")
    return bound


def _check_vector(vector: TensorType, shape: Shape, *, batched: bool) -> None:
    if not is_floating(vector):
        message = f"must be floating, got {vector.dtype}: cast it, as torch would have you"
        raise InvalidArgument(message, field="grad_output.dtype")
    if batched:
        check_batched(vector.shape, shape, "grad_output")
    elif vector.shape != shape:
        message = f"must have shape {list(shape)}, got {list(vector.shape)}"
        raise InvalidArgument(message, field="grad_output.shape")
