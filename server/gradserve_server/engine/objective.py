"""What a Gradient request differentiates: a loss of the output, or the output itself, perhaps weighted by a vector."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gradserve_server.engine.binding import bind
from gradserve_server.engine.criterion import Criterion
from gradserve_server.engine.model import Model
from gradserve_server.engine.shapes import Shape
from gradserve_server.engine.tensors import aligned, to_torch
from gradserve_server.errors import InvalidArgument
from gradserve_server.operations import GradientCall, is_floating


@dataclass(frozen=True)
class Objective:
    """A function of the output, and the vector that its derivative is multiplied by.

    Attributes:
        criterion: The loss; None to differentiate the output itself.
        vector: `grad_outputs` of torch.autograd.grad; None where the loss is a scalar.
        output_shape: The shape of the output that it is for.
    """

    criterion: Criterion | None
    vector: Tensor | None
    output_shape: Shape

    def value(self, output: Tensor) -> Tensor:
        """What is differentiated.

        Raises:
            InvalidArgument: If the loss cannot take the output's values.
        """
        if self.criterion is None:
            return output
        self.criterion.check_output(output)
        return self.criterion(output)

    def gradients(
        self, output: Tensor, leaves: Sequence[Tensor], *, retain_graph: bool = False
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The value for an output and its gradient with respect to each leaf."""
        value = self.value(output)
        return value, torch.autograd.grad(value, leaves, self.vector, retain_graph=retain_graph)

    def loss_elements(self, rows: int) -> int:
        """The elements of the loss in a reply for so many rows, each by itself; 1 row for a batch taken as one."""
        if self.criterion is None:
            return 0
        if self.vector is None:
            return rows
        return math.prod(self.criterion.kind.unreduced_shape(self.output_shape))

    def per_row(self) -> dict[str, Tensor]:
        """The tensors with one entry for each row: the vector under "vector", the others as the criterion has them."""
        per_row = {} if self.criterion is None else self.criterion.per_row(self.output_shape[0], len(self.output_shape))
        return per_row if self.vector is None else {"vector": self.vector, **per_row}

    def on(self, tensors: Mapping[str, Tensor]) -> Objective:
        """This objective for other rows: some of its tensors replaced."""
        criterion = None if self.criterion is None else self.criterion.on(tensors)
        return replace(self, criterion=criterion, vector=tensors.get("vector", self.vector))

    def row(self, index: int) -> Objective:
        """This objective for one row of the output."""
        return self.on({name: tensor[index : index + 1] for name, tensor in self.per_row().items()})


def objective_of(model: Model, call: GradientCall, output_shape: Shape) -> Objective:
    """Check what a request differentiates, against the shape of its output.

    Raises:
        InvalidArgument: If there is neither a loss nor a grad_output, or they do not fit the output or each other.
    """
    if call.loss is None:
        if call.grad_output is None:
            raise InvalidArgument("either loss or grad_output is required", field="loss")
        return Objective(None, _vector(model, call, output_shape), output_shape)
    criterion = bind(call.loss, output_shape, model.dtype, model.device)
    unreduced = criterion.kind.unreduced_shape(output_shape)
    if criterion.reduction != "none":
        if call.grad_output is not None:
            message = "grad_output beside a loss needs reduction none, which leaves something to weight"
            raise InvalidArgument(message, field="grad_output")
        return Objective(criterion, None, output_shape)
    if call.grad_output is not None:
        return Objective(criterion, _vector(model, call, unreduced), output_shape)
    if not call.per_sample or math.prod(unreduced[1:]) != 1:
        message = "reduction none leaves more than a scalar to differentiate: give grad_output"
        hint = "" if call.per_sample else ", or ask for per_sample"
        raise InvalidArgument(message + hint, field="loss.reduction")
    return Objective(criterion, None, output_shape)


def _vector(model: Model, call: GradientCall, shape: Shape) -> Tensor | None:
    if (array := call.grad_output) is None:
        return None
    if not is_floating(array):
        message = f"must be floating, got {array.dtype}: cast it, as torch would have you"
        raise InvalidArgument(message, field="grad_output.dtype")
    if array.shape != shape:
        message = f"must have shape {list(shape)}, got {list(array.shape)}"
        raise InvalidArgument(message, field="grad_output.shape")
    vector = to_torch(array, model.device).to(model.dtype)
    return aligned(vector) if call.deterministic else vector
