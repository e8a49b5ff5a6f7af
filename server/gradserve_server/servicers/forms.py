"""The forms of requests: all that there is of them but the numbers in their tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

import numpy as np
from google.protobuf.message import Message

from gradserve.v1 import inference_pb2
from gradserve_server.operations.arrays import Array
from gradserve_server.operations.calls import ForwardCall, GradientCall, LossCall
from gradserve_server.servicers.calls import forward_call, gradient_call

_REMEMBERED: Final = 1024
_LONGEST: Final = 65_536
"""Bytes of a request beyond which what is saved is nothing beside the numbers."""
_MUCH: Final = 1024
"""Bytes beside the numbers that are too many to be kept."""

_DATA: Final = "data"

CallT = TypeVar("CallT", bound=ForwardCall)

_Key: TypeAlias = tuple[int, bytes]
_Path: TypeAlias = tuple[str, ...]


class Readable(NamedTuple, Generic[CallT]):
    """A request that was parsed.

    Attributes:
        model: The name of the model that is asked.
        read: Gives with what; raises InvalidArgument where that is malformed.
    """

    model: str
    read: Callable[[], CallT]


class Forms(Generic[CallT]):
    """Parses the requests of one method, and those of a form that it has seen in fewer steps.

    Callers send the same over and over but for the numbers. In the encoding of messages
    (https://protobuf.dev/programming-guides/encoding) each field tells its length before its bytes. So what is as long
    as an earlier request, and equal to it between the numbers, means the same but for these.
    """

    def __init__(
        self,
        request_type: type[Any],
        read: Callable[[Any], CallT],
        tensors: Mapping[_Path, Callable[[CallT], Array | None]],
        filled: Callable[[CallT, Sequence[Array]], CallT],
    ) -> None:
        """Start without having seen any.

        Args:
            request_type: The class of the messages.
            read: Makes a call of one.
            tensors: Where a message may have tensors whose numbers change from call to call, by the order on the wire,
                and where they are in the call.
            filled: The call with other numbers in those of these places where it has any.
        """
        self._request_type = request_type
        self._read = read
        self._tensors = tensors
        self._filled = filled
        self._forms: dict[_Key, _Form[CallT]] = {}

    def parse(self, data: bytes) -> Readable[CallT]:
        """The request of some bytes.

        Raises:
            DecodeError: If they are not one.
        """
        form = self._forms.get(_key(data))
        if form is not None and form.fits(data):
            return Readable(form.model, partial(form.call, data))
        request = self._request_type.FromString(data)
        return Readable(request.model, partial(self._read_first, request, data))

    def _read_first(self, request: Any, data: bytes) -> CallT:  # noqa: ANN401 - of the type of its requests
        call = self._read(request)
        # Who gives a seed or a version gives another one the next time.
        if len(data) <= _LONGEST and not (request.HasField("seed") or request.HasField("if_version")):
            request.DiscardUnknownFields()
            # Where the numbers are is known only of what has its fields in their order, and nothing else.
            if request.SerializeToString(deterministic=True) == data:
                self._remember(request, data, call)
        return call

    def _remember(self, request: Any, data: bytes, call: CallT) -> None:  # noqa: ANN401 - as above
        slots = []
        for path, tensor in self._tensors.items():
            if (array := tensor(call)) is not None:
                end = _end(request, (*path, _DATA))
                slots.append(_Slot(end - array.nbytes, end, array.dtype, array.shape))
        # Each byte of a bool has to be looked at.
        if any(slot.dtype.kind == "b" for slot in slots):
            return
        starts, ends = [slot.start for slot in slots], [slot.end for slot in slots]
        parts = [(start, data[start:end]) for start, end in zip((0, *ends), (*starts, len(data)), strict=True)]
        if sum(len(part) for _, part in parts) <= _MUCH:
            if len(self._forms) >= _REMEMBERED:
                self._forms.clear()
            blank = self._filled(call, [np.empty(0)] * len(slots))
            self._forms[_key(data)] = _Form(request.model, parts, slots, blank, self._filled)


class _Slot(NamedTuple):
    """The place of the numbers of one tensor among the bytes of a request."""

    start: int
    end: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


class _Form(NamedTuple, Generic[CallT]):
    """One form.

    Attributes:
        model: What it asks.
        parts: The bytes between the numbers, and where they begin.
        slots: Where the numbers are.
        blank: The call but for the numbers.
        filled: Gives it with numbers.
    """

    model: str
    parts: Sequence[tuple[int, bytes]]
    slots: Sequence[_Slot]
    blank: CallT
    filled: Callable[[CallT, Sequence[Array]], CallT]

    def fits(self, data: bytes) -> bool:
        """Whether a request of the same length is of this form."""
        for start, part in self.parts:  # noqa: SIM110 - a generator would take as long as what is saved
            if not data.startswith(part, start):
                return False
        return True

    def call(self, data: bytes) -> CallT:
        """The call of a request of this form."""
        # A slice is a copy, as aligned as torch wants it; parsing would make the same.
        arrays = [np.ndarray(shape, dtype, data[start:end]) for start, end, dtype, shape in self.slots]
        return self.filled(self.blank, arrays)


def _key(data: bytes) -> _Key:
    """What requests of one form have in common and others hardly ever: length, and where it comes first, the model."""
    return len(data), data[: 2 + data[1]] if len(data) > 1 else b""


def _end(message: Any, path: _Path) -> int:  # noqa: ANN401 - of any message
    """Where a field ends in the bytes of a message, in which fields are in the order of their numbers."""
    name, *inner = path
    number = message.DESCRIPTOR.fields_by_name[name].number
    until = type(message)()
    until.CopyFrom(message)
    for field, _ in message.ListFields():
        if field.number > number:
            until.ClearField(field.name)
    end: int = until.ByteSize()
    if inner:
        value: Message = getattr(message, name)
        end -= value.ByteSize() - _end(value, tuple(inner))
    return end


def forward_forms() -> Forms[ForwardCall]:
    """Those of Forward."""
    return Forms(inference_pb2.ForwardRequest, forward_call, {("input",): lambda call: call.input}, _filled_forward)


def gradient_forms() -> Forms[GradientCall]:
    """Those of Gradient."""
    tensors: Mapping[_Path, Callable[[GradientCall], Array | None]] = {
        ("input",): lambda call: call.input,
        ("loss", "target"): lambda call: None if call.loss is None else call.loss.target,
        ("grad_output",): lambda call: call.grad_output,
    }
    return Forms(inference_pb2.GradientRequest, gradient_call, tensors, _filled_gradient)


def _filled_forward(call: ForwardCall, arrays: Sequence[Array]) -> ForwardCall:
    return ForwardCall(arrays[0], training=call.training, deterministic=call.deterministic)


def _filled_gradient(call: GradientCall, arrays: Sequence[Array]) -> GradientCall:
    value, *others = arrays
    loss = call.loss
    if loss is not None and loss.target is not None:
        loss = LossCall(loss.name, others.pop(0), loss.reduction, loss.arguments)
    grad_output = None if call.grad_output is None else others.pop(0)
    return GradientCall(
        value,
        training=call.training,
        deterministic=call.deterministic,
        loss=loss,
        grad_output=grad_output,
        wrt=call.wrt,
        per_sample=call.per_sample,
        return_output=call.return_output,
        is_grads_batched=call.is_grads_batched,
        per_sample_result=call.per_sample_result,
        max_norm=call.max_norm,
    )
