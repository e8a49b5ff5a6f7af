"""What a request differentiates: a loss of the output, or the output itself, perhaps weighted by a vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gradserve_server.engine.gradients.vector_gradients import vector_gradients
from gradserve_server.engine.losses.binding import BoundLoss
from gradserve_server.engine.losses.criterion import Criterion
from gradserve_server.engine.model import Model
from gradserve_server.engine.network.shapes import Shape
from gradserve_server.engine.tensors import aligned, to_torch
from gradserve_server.operations.calls import ObjectiveCall


@dataclass(frozen=True)
class Objective:
    """A function of the output, and the vector that its derivative is multiplied by.

    Attributes:
        criterion: The loss; None to differentiate the output itself.
        vector: `grad_outputs` of torch.autograd.grad; None where the loss is a scalar.
        output_shape: The shape of the output that it is for.
        is_grads_batched: Whether the vector is several, one behind the other.
    """

    criterion: Criterion | None
    vector: Tensor | None
    output_shape: Shape
    is_grads_batched: bool = False

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
        """The value for an output and its gradient with respect to each leaf, or those for each vector [K, *shape]."""
        value = self.value(output)
        if self.vector is not None and self.is_grads_batched:
            return value, vector_gradients(value, leaves, self.vector)
        return value, torch.autograd.grad(value, leaves, self.vector, retain_graph=retain_graph)

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


def objective_of(
    model: Model, loss: BoundLoss | None, call: ObjectiveCall, output_shape: Shape, *, is_grads_batched: bool = False
) -> Objective:
    """What a checked request differentiates, its tensors on the model's device."""
    vector = None
    if call.grad_output is not None:
        vector = to_torch(call.grad_output, model.device).to(model.dtype)
        vector = aligned(vector) if call.deterministic else vector
    criterion = None
    if loss is not None and call.loss is not None:
        criterion = loss.criterion(call.loss, model.dtype, model.device)
    return Objective(criterion, vector, output_shape, is_grads_batched)
