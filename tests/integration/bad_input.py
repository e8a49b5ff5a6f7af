"""A request that must be refused, how to send it raw, and what the refusal must look like."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import grpc
import numpy as np
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc import StatusCode
from grpc_status import rpc_status

from gradserve.v1 import inference_pb2, model_pb2, tensor_pb2

VICTIM = "bad-input-victim"

Size = int | float


def tensor(*shape: int, dtype: str = "float32", data: bytes | None = None) -> tensor_pb2.Tensor:
    """A tensor of ones, or of other bytes."""
    if data is None:
        data = np.ones(shape, dtype).tobytes()
    return tensor_pb2.Tensor(dtype=data_type(dtype), shape=shape, data=data)


def values(elements: Sequence[Size] | Sequence[Sequence[Size]], dtype: str) -> tensor_pb2.Tensor:
    """A tensor of the given elements."""
    array = np.array(elements, dtype)
    return tensor_pb2.Tensor(dtype=data_type(dtype), shape=array.shape, data=array.tobytes())


def data_type(name: str) -> tensor_pb2.DataType:
    """The enum's member for a NumPy dtype."""
    return tensor_pb2.DataType.Value(f"DATA_TYPE_{name.upper()}")


def linear(in_features: int, out_features: int) -> model_pb2.Layer:
    """A Linear layer."""
    return layer("Linear", in_features=in_features, out_features=out_features)


def layer(kind: str, /, **arguments: float | str) -> model_pb2.Layer:
    """A layer with arguments of the types that Python gives them."""
    return model_pb2.Layer(type=kind, arguments={name: layer_argument(value) for name, value in arguments.items()})


def layer_argument(value: float | str) -> model_pb2.LayerArgument:
    """An argument of the type that Python gives it."""
    fields = {bool: "bool_value", int: "int_value", float: "double_value", str: "string_value"}
    return model_pb2.LayerArgument(**{fields[type(value)]: value})


def architecture(*layers: model_pb2.Layer) -> model_pb2.Architecture:
    """An architecture of layers."""
    return model_pb2.Architecture(sequential=model_pb2.Sequential(layers=layers))


@dataclass(frozen=True)
class Row:
    """One bad request.

    Attributes:
        title: What is wrong with it.
        request: The request.
        field: The path that the violation must name; empty if the fault is in none, None if torch finds the fault.
        status: The status that it must have.
        says: Words that the message must hold.
    """

    title: str
    request: Message
    field: str | None
    status: StatusCode = StatusCode.INVALID_ARGUMENT
    says: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{type(self.request).__name__.removesuffix('Request')}, {self.title}"

    def check(self, channel: grpc.Channel) -> None:
        """Send it, and check everything that the refusal tells.

        Raises:
            AssertionError: If it is not refused, or not like this.
        """
        error = refusal(channel, method_of(type(self.request)), self.request.SerializeToString())
        assert error.code() is self.status, error
        info, violations = details(error)
        assert info.domain == "gradserve"
        assert re.fullmatch(r"[A-Z][A-Z0-9_]+", info.reason)
        named = [violation.field for violation in violations]
        assert self.field is None or named == [self.field] * bool(self.field), error
        message = error.details() or ""
        assert not self.field or _names(message, self.field), f"{message!r} does not name {self.field}"
        assert [word for word in self.says if word not in message] == [], message


def method_of(request_type: type[Message]) -> str:
    """The path of the method that takes a type of request."""
    for module in (inference_pb2, model_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                if method.input_type is request_type.DESCRIPTOR:
                    return f"/{service.full_name}/{method.name}"
    raise LookupError(request_type)


def refusal(channel: grpc.Channel, method: str, data: bytes) -> grpc.RpcError:
    """What the server makes of some bytes."""
    call = channel.unary_unary(method, request_serializer=None, response_deserializer=None)
    try:
        reply = call(data, timeout=20)
    except grpc.RpcError as error:
        return error
    raise AssertionError(f"the server accepted it: {reply[:200]!r}")


def reason_of(error: grpc.RpcError) -> str:
    """The reason in the ErrorInfo of a refusal."""
    return details(error)[0].reason


def details(
    error: grpc.RpcError,
) -> tuple[error_details_pb2.ErrorInfo, Sequence[error_details_pb2.BadRequest.FieldViolation]]:
    """The ErrorInfo of a refusal, and its violations of fields."""
    status = rpc_status.from_call(error)
    assert status is not None, f"without details: {error}"
    infos = list(_unpacked(status.details, error_details_pb2.ErrorInfo))
    requests = list(_unpacked(status.details, error_details_pb2.BadRequest))
    assert len(infos) == 1
    return infos[0], [violation for request in requests for violation in request.field_violations]


def _unpacked(details: Sequence[Message], kind: type[Message]) -> Iterator[Message]:
    for detail in details:
        message = kind()
        if detail.Unpack(message):
            yield message


def _names(message: str, field: str) -> bool:
    # A message speaks of "the input" or of "in_features of Linear"; a word of the path must be there.
    return any(word in message for word in re.split(r"[.\[\]]", field) if word and not word.isdigit())
