"""A loss bound to its target and arguments: a function of the output alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from gradserve_server.engine.losses.kinds import Argument, LossKind
from gradserve_server.errors import InvalidArgument


@dataclass(frozen=True)
class Criterion:
    """A loss that has been checked against the shape of the output that it will get.

    Attributes:
        kind: The loss.
        target: On the model's device; None for the losses without one.
        arguments: By torch's names; tensors on the model's device.
        reduction: As torch takes it; empty for the losses that take none.
    """

    kind: LossKind
    target: Tensor | None
    arguments: Mapping[str, object]
    reduction: str

    def __call__(self, output: Tensor) -> Tensor:
        """The loss of an output."""
        inputs = (output,) if self.target is None else (output, self.target)
        if not self.reduction:
            return self.kind.function(*inputs)
        return self.kind.function(*inputs, reduction=self.reduction, **self.arguments)

    def check_output(self, output: Tensor) -> None:
        """Refuse values that torch refuses inside the kernel, where a GPU's assertion would be final.

        Raises:
            InvalidArgument: If the loss needs probabilities and an element lies outside [0, 1].
        """
        if self.kind.probabilities and not bool(((output >= 0) & (output <= 1)).all()):
            message = "binary_cross_entropy needs an output in [0, 1]: end the model with Sigmoid, or use "
            raise InvalidArgument(message + "binary_cross_entropy_with_logits", field="loss.name")

    def per_row(self, rows: int, rank: int) -> dict[str, Tensor]:
        """The tensors with one entry for each row of an output of that rank; the target under "target"."""
        per_row = {
            name: value
            for name, value in self.arguments.items()
            if isinstance(value, Tensor) and _follows_rows(value, rows, rank, self.kind.arguments[name])
        }
        return per_row if self.target is None else {"target": self.target, **per_row}

    def on(self, tensors: Mapping[str, Tensor]) -> Criterion:
        """This criterion with some of its tensors replaced, the target under "target"."""
        arguments = {name: tensors.get(name, value) for name, value in self.arguments.items()}
        return replace(self, target=tensors.get("target", self.target), arguments=arguments)


def _follows_rows(value: Tensor, rows: int, rank: int, argument: Argument) -> bool:
    without_last = argument is Argument.VARIANCE and value.dim() == rank - 1
    return (value.dim() == rank or without_last) and value.dim() > 0 and value.shape[0] == rows
