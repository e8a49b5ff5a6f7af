"""The bytes of ForwardRequests."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from gradserve import codec
from gradserve.v1 import inference_pb2
from gradserve_server.operations.arrays import FLOATING
from gradserve_server.operations.calls import ForwardCall
from gradserve_server.servicers.calls import forward_call
from gradserve_server.servicers.encoding import tensor_head

_REMEMBERED: Final = 1024
_LONGEST_HEAD: Final = 1024
_INPUT: Final = inference_pb2.ForwardRequest.INPUT_FIELD_NUMBER

_Key: TypeAlias = tuple[int, bytes]


class ReadableForward(NamedTuple):
    """A ForwardRequest that was parsed.

    Attributes:
        model: The name of the model that is asked.
        read: Gives with what; raises InvalidArgument where the input is malformed.
    """

    model: str
    read: Callable[[], ForwardCall]


class ForwardRequests:
    """Parses ForwardRequests, and those that differ from an earlier one in nothing but numbers in fewer steps.

    Callers send the same over and over but for the numbers of the input. In the encoding of messages
    (https://protobuf.dev/programming-guides/encoding) each field tells its length before its bytes. So what is as long
    as an earlier message, and equal to it before the numbers and behind them, means the same but for these.
    """

    def __init__(self) -> None:
        self._forms: dict[_Key, _Form] = {}

    def parse(self, data: bytes) -> ReadableForward:
        """The request of some bytes.

        Raises:
            DecodeError: If they are not a ForwardRequest.
        """
        form = self._forms.get(_key(data))
        if form is not None and data.startswith(form.head) and data.endswith(form.tail):
            return ReadableForward(form.model, partial(form.call, data))
        request = inference_pb2.ForwardRequest.FromString(data)
        if (form := _form(request, data)) is not None:
            self._remember(data, form)
        return ReadableForward(request.model, partial(forward_call, request))

    def _remember(self, data: bytes, form: _Form) -> None:
        if len(self._forms) >= _REMEMBERED:
            self._forms.clear()
        self._forms[_key(data)] = form


class _Form(NamedTuple):
    """All of a request but the numbers of its input.

    Attributes:
        head: The bytes before the numbers.
        tail: Those behind them.
        model: What it asks.
        dtype: Of the input.
        shape: Of the input.
        training: As in ForwardCall.
        deterministic: Likewise.
    """

    head: bytes
    tail: bytes
    model: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    training: bool
    deterministic: bool

    def call(self, data: bytes) -> ForwardCall:
        """The call of a request of this form."""
        # The slice is a copy, as aligned as torch wants it; parsing would make the same.
        numbers = data[len(self.head) : len(data) - len(self.tail)]
        value = np.ndarray(self.shape, self.dtype, numbers)
        return ForwardCall(value, training=self.training, deterministic=self.deterministic)


def _key(data: bytes) -> _Key:
    """What requests of one form have in common and others hardly ever: length, and where it comes first, the model."""
    return len(data), data[: 2 + data[1]] if len(data) > 1 else b""


def _form(request: inference_pb2.ForwardRequest, data: bytes) -> _Form | None:
    """The form of a request, if it is worth remembering and its bytes are in the order that encoders keep to."""
    if request.HasField("seed") or request.HasField("if_version"):
        # These change from call to call.
        return None
    try:
        value = codec.decode(request.input)
    except codec.TensorError:
        return None
    if value.dtype.name not in FLOATING:
        return None
    head = inference_pb2.ForwardRequest(model=request.model).SerializeToString()
    head += tensor_head(_INPUT, value.dtype, value.shape)
    options = request.training, request.deterministic
    tail = inference_pb2.ForwardRequest(training=options[0], deterministic=options[1]).SerializeToString()
    is_whole = len(data) == len(head) + value.nbytes + len(tail)
    if not (is_whole and len(head) <= _LONGEST_HEAD and data.startswith(head) and data.endswith(tail)):
        return None
    return _Form(head, tail, request.model, value.dtype, value.shape, *options)
