"""The forms of requests: all that there is of them but the numbers in their tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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

CallT = TypeVar("CallT", bound=ForwardCall)
MessageT = TypeVar("MessageT", bound=Message)

_Key: TypeAlias = tuple[int, bytes]
_Path: TypeAlias = tuple[str, ...]


class Readable(NamedTuple, Generic[CallT]):
    """A request of gradserve.v1 that was parsed.

    Attributes:
        model: The name of the model that is asked.
        read: Gives with what; raises ServiceError where that is malformed.
    """

    model: str
    read: Callable[[], CallT]


class Reading(NamedTuple, Generic[CallT]):
    """How the requests of one method are read.

    Attributes:
        request_type: The class of their messages.
        told: What is told of a message before it is read, which may be without its numbers.
        readable: Makes what stands for a request, of what is told and what reads it.
        read: Makes the call of a message.
        tensors: The paths of the fields that hold numbers, in their order, and whose they are in the call.
        lasting: Whether another call is likely to differ in nothing but its numbers.
    """

    request_type: type[Any]
    told: Callable[[Any], tuple[Any, ...]]
    readable: Callable[..., Any]
    read: Callable[[Any], CallT]
    tensors: Mapping[_Path, Callable[[CallT], Array | None]]
    lasting: Callable[[Any], bool]


class Forms(Generic[CallT]):
    """Parses the requests of one method, and those of a form that it has seen in fewer steps.

    Callers send the same over and over but for the numbers. In the encoding of messages
    (https://protobuf.dev/programming-guides/encoding) each field tells its length before its bytes. So what is as long
    as an earlier request, and equal to it between the numbers, means the same but for these.
    """

    def __init__(self, reading: Reading[CallT]) -> None:
        self._reading = reading
        self._readable = reading.readable
        self._forms: dict[_Key, _Form[CallT]] = {}

    def parse(self, data: bytes) -> object:
        """What stands for the request of some bytes.

        Raises:
            DecodeError: If they are not one.
        """
        form = self._forms.get(_key(data))
        if form is not None and form.fits(data):
            return self._readable(*form.told, partial(form.call, data))
        request = self._reading.request_type.FromString(data)
        # Who waits to be computed keeps what reads his request: of a long one not the bytes, too.
        is_long = len(data) > _LONGEST
        read = partial(self._reading.read, request) if is_long else partial(self._read_first, request, data)
        return self._readable(*self._reading.told(request), read)

    def _read_first(self, request: Message, data: bytes) -> CallT:
        call = self._reading.read(request)
        if self._reading.lasting(request):
            plain = _without(request, ())
            # Where the numbers are is known only of what has its fields in their order, and nothing else.
            if plain.SerializeToString(deterministic=True) == data:
                self._remember(plain, data, call)
        return call

    def _remember(self, request: Message, data: bytes, call: CallT) -> None:
        slots = []
        for path, tensor in self._reading.tensors.items():
            if (array := tensor(call)) is not None:
                end = _end(request, path)
                slots.append(_Slot(end - array.nbytes, end, array.dtype, array.shape))
        # Each byte of a bool has to be looked at.
        if any(slot.dtype.kind == "b" for slot in slots):
            return
        starts, ends = [slot.start for slot in slots], [slot.end for slot in slots]
        parts = [(start, data[start:end]) for start, end in zip((0, *ends), (*starts, len(data)), strict=True)]
        if sum(len(part) for _, part in parts) <= _MUCH:
            if len(self._forms) >= _REMEMBERED:
                self._forms.clear()
            told = self._reading.told(_without(request, {path[0] for path in self._reading.tensors}))
            self._forms[_key(data)] = _Form(told, parts, slots, _filled(call, [np.empty(0)] * len(slots)))


class _Slot(NamedTuple):
    """The place of the numbers of one tensor among the bytes of a request."""

    start: int
    end: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


class _Form(NamedTuple, Generic[CallT]):
    """One form.

    Attributes:
        told: What is told of each request.
        parts: The bytes between the numbers, and where they begin.
        slots: Where the numbers are.
        blank: The call but for the numbers.
    """

    told: tuple[Any, ...]
    parts: Sequence[tuple[int, bytes]]
    slots: Sequence[_Slot]
    blank: CallT

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
        call: CallT = _filled(self.blank, arrays)
        return call


def _key(data: bytes) -> _Key:
    """What requests of one form have in common and others hardly ever: length, and where it comes first, the model."""
    return len(data), data[: 2 + data[1]] if len(data) > 1 else b""


def _end(message: Message, path: _Path) -> int:
    """Where a field ends in the bytes of a message, in which fields are in the order of their numbers."""
    name, *inner = path
    number = message.DESCRIPTOR.fields_by_name[name].number
    until = type(message)()
    until.CopyFrom(message)
    for field, _ in message.ListFields():
        if field.number > number:
            until.ClearField(field.name)
    end = until.ByteSize()
    if inner:
        value: Message = getattr(message, name)
        end -= value.ByteSize() - _end(value, tuple(inner))
    return end


def _without(message: MessageT, fields: Iterable[str]) -> MessageT:
    """A message without some fields, and without what it has that such messages do not."""
    copy = type(message)()
    copy.CopyFrom(message)
    copy.DiscardUnknownFields()
    for field in fields:
        copy.ClearField(field)
    return copy


def _filled(call: Any, arrays: Sequence[Array]) -> Any:  # noqa: ANN401 - a call of the same class
    """A call with other numbers in the tensors that it has: input, target and vector."""
    if not isinstance(call, GradientCall):
        return ForwardCall(arrays[0], training=call.training, deterministic=call.deterministic)
    value, *others = arrays
    loss = call.loss
    if loss is not None and loss.target is not None:
        loss = LossCall(loss.name, others.pop(0), loss.reduction, loss.arguments)
    return GradientCall(
        value,
        training=call.training,
        deterministic=call.deterministic,
        loss=loss,
        grad_output=None if call.grad_output is None else others.pop(0),
        wrt=call.wrt,
        per_sample=call.per_sample,
        return_output=call.return_output,
        is_grads_batched=call.is_grads_batched,
        per_sample_result=call.per_sample_result,
        max_norm=call.max_norm,
        # What is filled from a blank is of its form; a blank itself is of a new one.
        form=call.form or object(),
    )


def forward_forms() -> Forms[ForwardCall]:
    """Those of Forward."""
    tensors: Mapping[_Path, Callable[[ForwardCall], Array]] = {("input", "data"): _input}
    reading = Reading(inference_pb2.ForwardRequest, _told, Readable, forward_call, tensors, _is_lasting)
    return Forms(reading)


def gradient_forms() -> Forms[GradientCall]:
    """Those of Gradient."""
    tensors: Mapping[_Path, Callable[[GradientCall], Array | None]] = {
        ("input", "data"): _input,
        ("loss", "target", "data"): lambda call: None if call.loss is None else call.loss.target,
        ("grad_output", "data"): lambda call: call.grad_output,
    }
    return Forms(Reading(inference_pb2.GradientRequest, _told, Readable, gradient_call, tensors, _is_lasting))


def _input(call: ForwardCall) -> Array:
    return call.input


def _told(request: inference_pb2.ForwardRequest | inference_pb2.GradientRequest) -> tuple[str]:
    return (request.model,)


def _is_lasting(request: inference_pb2.ForwardRequest | inference_pb2.GradientRequest) -> bool:
    # Who gives a seed or a version gives another one the next time.
    return not (request.HasField("seed") or request.HasField("if_version"))
