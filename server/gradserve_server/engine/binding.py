"""From a request's loss to a Criterion: everything that can be refused without computing is refused here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gradserve_server.engine.criterion import Criterion
from gradserve_server.engine.losses import Argument, LossKind, Target, kind_of
from gradserve_server.engine.tensors import to_torch
from gradserve_server.errors import InvalidArgument
from gradserve_server.operations import Array, LossArgument, LossCall, is_floating, is_integer

Shape = tuple[int, ...]

_CLASS_RANKS = (1, 2)
_DEFAULT_IGNORE_INDEX = -100

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


def bind(call: LossCall, output_shape: Shape, dtype: torch.dtype, device: torch.device) -> Criterion:
    """Check a loss against the shape of the output that it will get, and move its tensors to the device.

    Raises:
        InvalidArgument: If the loss is unknown, or its target, reduction or an argument does not fit.
    """
    return _Binding(call, kind_of(call.name), output_shape, dtype, device).criterion()


@dataclass(frozen=True)
class _Binding:
    """One loss on its way from a request to a criterion."""

    call: LossCall
    kind: LossKind
    output_shape: Shape
    dtype: torch.dtype
    device: torch.device

    def criterion(self) -> Criterion:
        if self.kind.of_classes and len(self.output_shape) not in _CLASS_RANKS:
            message = f"{self.call.name} takes an output [C] or [N, C], this one is {list(self.output_shape)}"
            raise InvalidArgument(f"{message}: flatten the input to [N, in_features]", field="input.shape")
        reduction, target = self._reduction(), self._target()
        if missing := [name for name in self.kind.required if name not in self.call.arguments]:
            raise InvalidArgument(f"{self.call.name} needs {', '.join(missing)}", field="loss.arguments")
        arguments = {name: self._argument(name, value) for name, value in self.call.arguments.items()}
        return Criterion(self.kind, target, arguments, reduction)

    def _reduction(self) -> str:
        name, given, choices = self.call.name, self.call.reduction, self.kind.reductions
        if given and not choices:
            raise InvalidArgument(f"{name} takes no reduction, got {given!r}", field="loss.reduction")
        if given and given not in choices:
            message = f"reduction of {name} is one of {', '.join(choices)}, got {given!r}"
            raise InvalidArgument(message, field="loss.reduction")
        return given or ("mean" if choices else "")

    def _target(self) -> Tensor | None:
        name, target = self.call.name, self.call.target
        if self.kind.target is Target.NONE:
            if target is not None:
                raise InvalidArgument(f"{name} takes no target", field="loss.target")
            return None
        if target is None:
            raise InvalidArgument(f"{name} needs a target", field="loss.target")
        by_id = self.kind.of_classes and not (self.kind.target is Target.CLASS_OR_PROBABILITIES and is_floating(target))
        self._check_target(target, by_id=by_id)
        return to_torch(target, self.device).to(torch.int64 if by_id else self.dtype)

    def _check_target(self, target: Array, *, by_id: bool) -> None:
        name, output_shape = self.call.name, self.output_shape
        if by_id and not is_integer(target):
            message = f"{name} takes class ids of an integer dtype, got {target.dtype}"
            raise InvalidArgument(message, field="loss.target")
        if not by_id and not is_floating(target):
            message = f"{name} takes a floating target, got {target.dtype}: cast it, as torch would have you"
            raise InvalidArgument(message, field="loss.target")
        shape = output_shape[:-1] if by_id and self.kind.target is not Target.CLASSES else output_shape
        if target.shape != shape:
            message = f"{name} of an output {list(output_shape)} takes a target {list(shape)}"
            raise InvalidArgument(f"{message}, got {list(target.shape)}", field="loss.target")
        if self.kind.probabilities and not bool(((target >= 0) & (target <= 1)).all()):
            raise InvalidArgument(f"{name} takes a target in [0, 1]", field="loss.target")
        if by_id:
            self._check_ids(target.astype(np.int64), output_shape[-1])

    def _check_ids(self, ids: Array, classes: int) -> None:
        lowest = -1 if self.kind.target is Target.CLASSES else 0
        wrong = (ids < lowest) | (ids >= classes)
        if "ignore_index" in self.kind.arguments:
            wrong &= ids != self.call.arguments.get("ignore_index", _DEFAULT_IGNORE_INDEX)
        if wrong.any():
            place = tuple(int(i) for i in np.argwhere(wrong)[0])
            message = f"class id {ids[place]} at {list(place)} is out of range for {classes} classes"
            raise InvalidArgument(message, field="loss.target", reason="CLASS_OUT_OF_RANGE")

    def _argument(self, name: str, value: LossArgument) -> object:
        path = f"loss.arguments[{name}]"
        if (expected := self.kind.arguments.get(name)) is None:
            takes = ", ".join(self.kind.arguments) or "none"
            raise InvalidArgument(f"{self.call.name} has no argument {name!r}; it takes: {takes}", field=path)
        wanted = f"{name} of {self.call.name} takes {_WANTED[expected]}"
        numbers = _NUMBERS.get(expected, ())
        if not isinstance(value, np.ndarray):
            if not isinstance(value, numbers) or (isinstance(value, bool) and bool not in numbers):
                raise InvalidArgument(f"{wanted}, got {value!r}", field=path)
            return float(value) if float in numbers else value
        if not is_floating(value):
            raise InvalidArgument(f"{wanted}, floating, got {value.dtype}: cast it", field=path)
        if not _fits(value.shape, expected, self.output_shape):
            message = f"{wanted}; the output is {list(self.output_shape)}, got {list(value.shape)}"
            raise InvalidArgument(message, field=path)
        return to_torch(value, self.device).to(self.dtype)


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
