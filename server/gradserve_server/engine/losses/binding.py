"""From a request's loss to a Criterion: everything that can be refused without computing is refused here.

What depends on dtypes, shapes and names alone is checked once for all requests that have them in common.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from gradserve_server.engine.losses.criterion import Criterion
from gradserve_server.engine.losses.kinds import Argument, LossKind, Target, kind_of
from gradserve_server.engine.losses.signature import ArgumentType, LossSignature, Number, TensorType
from gradserve_server.engine.network.shapes import Shape
from gradserve_server.engine.tensors import to_torch
from gradserve_server.errors import InvalidArgument
from gradserve_server.operations.arrays import is_floating, is_integer
from gradserve_server.operations.calls import LossCall

_CLASS_RANKS = (1, 2)

_NUMBERS: Mapping[Argument, tuple[type, ...]] = {
    Argument.BOOL: (bool,),
    Argument.INT: (int,),
    Argument.FLOAT: (int, float),
    Argument.VARIANCE: (int, float),
}

_WANTED: Mapping[Argument, str] = {
    Argument.BOOL: "a bool",
    Argument.INT: "an integer",
    Argument.FLOAT: "a number",
    Argument.CLASS_WEIGHT: "a tensor [C]",
    Argument.SAME_SHAPE: "a tensor of the output's shape",
    Argument.BROADCAST: "a tensor that broadcasts to the output",
    Argument.VARIANCE: "a number or a tensor of the output's shape, with a last dimension of 1, or without it",
}


@dataclass(frozen=True)
class BoundLoss:
    """A loss whose dtypes, shapes and names fit an output's shape.

    Attributes:
        kind: The loss.
        reduction: As torch takes it; empty for the losses that take none.
        classes: How many there are, where the target holds class ids; else None.
        numbers: The scalar arguments.
        tensors: The names of the tensor arguments.
        value_shape: The shape of the loss before it is reduced.
    """

    kind: LossKind
    reduction: str
    classes: int | None
    numbers: Mapping[str, float]
    tensors: tuple[str, ...]
    value_shape: Shape

    def criterion(self, call: LossCall, dtype: torch.dtype, device: torch.device) -> Criterion:
        """The loss of a request with this signature, its tensors on the device."""
        target = None
        if call.target is not None:
            target = to_torch(call.target, device).to(dtype if self.classes is None else torch.int64)
        tensors = {name: to_torch(np.asarray(call.arguments[name]), device).to(dtype) for name in self.tensors}
        return Criterion(self.kind, target, {**self.numbers, **tensors}, self.reduction)


def bind(signature: LossSignature, output_shape: Shape) -> BoundLoss:
    """Check a loss against the shape of the output that it will get.

    Raises:
        InvalidArgument: If the loss is unknown, or its target, reduction or an argument does not fit.
    """
    return _Binding(signature, kind_of(signature.name), output_shape).bound()


@dataclass(frozen=True)
class _Binding:
    """One loss on its way from a request's signature to what holds for all requests that have it."""

    loss: LossSignature
    kind: LossKind
    output_shape: Shape

    def bound(self) -> BoundLoss:
        if self.kind.of_classes and len(self.output_shape) not in _CLASS_RANKS:
            message = f"{self.loss.name} takes an output [C] or [N, C], this one is {list(self.output_shape)}"
            raise InvalidArgument(f"{message}: flatten the input to [N, in_features]", field="input.shape")
        reduction, by_id = self._reduction(), self._check_target()
        given = dict(self.loss.arguments)
        if missing := [name for name in self.kind.required if name not in given]:
            raise InvalidArgument(f"{self.loss.name} needs {', '.join(missing)}", field="loss.arguments")
        checked = {name: self._argument(name, value) for name, value in given.items()}
        numbers = {name: value for name, value in checked.items() if value is not None}
        tensors = tuple(name for name, value in checked.items() if value is None)
        classes = self.output_shape[-1] if by_id else None
        value_shape = self.kind.unreduced_shape(self.output_shape)
        return BoundLoss(self.kind, reduction, classes, numbers, tensors, value_shape)

    def _reduction(self) -> str:
        name, given, choices = self.loss.name, self.loss.reduction, self.kind.reductions
        if given and not choices:
            raise InvalidArgument(f"{name} takes no reduction, got {given!r}", field="loss.reduction")
        if given and given not in choices:
            message = f"reduction of {name} is one of {', '.join(choices)}, got {given!r}"
            raise InvalidArgument(message, field="loss.reduction")
        return given or ("mean" if choices else "")

    def _check_target(self) -> bool:
        """Whether the target holds class ids."""
        name, target = self.loss.name, self.loss.target
        if self.kind.target is Target.NONE:
            if target is not None:
                raise InvalidArgument(f"{name} takes no target", field="loss.target")
            return False
        if target is None:
            raise InvalidArgument(f"{name} needs a target", field="loss.target")
        by_id = self.kind.of_classes and not (self.kind.target is Target.CLASS_OR_PROBABILITIES and is_floating(target))
        if by_id and not is_integer(target):
            message = f"{name} takes class ids of an integer dtype, got {target.dtype}"
            raise InvalidArgument(message, field="loss.target")
        if not by_id and not is_floating(target):
            message = f"{name} takes a floating target, got {target.dtype}: cast it, as torch would have you"
            raise InvalidArgument(message, field="loss.target")
        self._check_target_shape(target, by_id=by_id)
        return by_id

    def _check_target_shape(self, target: TensorType, *, by_id: bool) -> None:
        without_classes = by_id and self.kind.target is not Target.CLASSES
        shape = self.output_shape[:-1] if without_classes else self.output_shape
        if target.shape != shape:
            message = f"{self.loss.name} of an output {list(self.output_shape)} takes a target {list(shape)}"
            raise InvalidArgument(f"{message}, got {list(target.shape)}", field="loss.target")

    def _argument(self, name: str, given: ArgumentType) -> float | None:
        """A scalar as torch takes it; None for a tensor."""
        path = f"loss.arguments[{name}]"
        if (expected := self.kind.arguments.get(name)) is None:
            takes = ", ".join(self.kind.arguments) or "none"
            raise InvalidArgument(f"{self.loss.name} has no argument {name!r}; it takes: {takes}", field=path)
        wanted = f"{name} of {self.loss.name} takes {_WANTED[expected]}"
        if isinstance(given, Number):
            numbers = _NUMBERS.get(expected, ())
            if given.type not in numbers:
                raise InvalidArgument(f"{wanted}, got {given.value!r}", field=path)
            return float(given.value) if float in numbers else given.value
        if not is_floating(given):
            raise InvalidArgument(f"{wanted}, floating, got {given.dtype}: cast it", field=path)
        if not _fits(given.shape, expected, self.output_shape):
            message = f"{wanted}; the output is {list(self.output_shape)}, got {list(given.shape)}"
            raise InvalidArgument(message, field=path)
        return None


def _fits(shape: Shape, expected: Argument, output_shape: Shape) -> bool:
    if expected is Argument.CLASS_WEIGHT:
        return shape == output_shape[-1:]
    if expected is Argument.SAME_SHAPE:
        return shape == output_shape
    if expected is Argument.VARIANCE:
        return shape in {output_shape, (*output_shape[:-1], 1), output_shape[:-1]}
    if expected is not Argument.BROADCAST:
        return False
    try:
        return np.broadcast_shapes(shape, output_shape) == output_shape
    except ValueError:
        return False
