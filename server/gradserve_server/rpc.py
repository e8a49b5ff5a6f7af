"""From a servicer to gRPC's handlers: reading requests, refusing malformed ones, and one error boundary for all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from gradserve_server.errors import InvalidArgument
from gradserve_server.status import abort

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Gate: TypeAlias = Callable[[], None]
"""Raises a ServiceError while calls are not to be let in."""


class _Malformed:
    """Stands for a request that could not be read: raising while reading would reach the caller as UNKNOWN."""


def open_gate() -> None:
    """Let every call in."""


def handlers(service: ServiceDescriptor, servicer: object, gate: Gate = open_gate) -> grpc.GenericRpcHandler:
    """The handlers of all methods of a service.

    Args:
        service: Its descriptor; each method is looked up on the servicer by its name.
        servicer: Has an async method for each unary reply and an async generator for each stream of replies.
        gate: Asked before each call.
    """
    methods = {method.name: _handler(method, getattr(servicer, method.name), gate) for method in service.methods}
    return grpc.method_handlers_generic_handler(service.full_name, methods)


def _handler(method: MethodDescriptor, call: Callable[..., Any], gate: Gate) -> grpc.RpcMethodHandler[Any, Any]:
    if method.client_streaming:
        raise NotImplementedError(f"{method.full_name}: no method of this server takes a stream of requests")
    request_type: type[Message] = GetMessageClass(method.input_type)
    wrap, make = (
        (_stream_boundary, grpc.unary_stream_rpc_method_handler)
        if method.server_streaming
        else (_unary_boundary, grpc.unary_unary_rpc_method_handler)
    )
    return make(
        wrap(method, call, gate),
        request_deserializer=_reader(request_type),
        response_serializer=GetMessageClass(method.output_type).SerializeToString,
    )


def _reader(request_type: type[Message]) -> Callable[[bytes], Message | _Malformed]:
    parse = request_type.FromString

    def read(data: bytes) -> Message | _Malformed:
        try:
            return parse(data)
        except DecodeError:
            return _Malformed()

    return read


def _check(request: object, method: MethodDescriptor, gate: Gate) -> None:
    gate()
    if isinstance(request, _Malformed):
        message = f"the bytes are not a {method.input_type.full_name} message"
        raise InvalidArgument(message, reason="MALFORMED_MESSAGE")


def _unary_boundary(
    method: MethodDescriptor, call: Callable[[Any, Context], Awaitable[Message]], gate: Gate
) -> Callable[[Any, Context], Awaitable[Message]]:
    async def unary(request: object, context: Context) -> Message:
        try:
            _check(request, method, gate)
            return await call(request, context)
        except Exception as error:  # noqa: BLE001 - the boundary: everything becomes a status
            await abort(context, error)

    return unary


def _stream_boundary(
    method: MethodDescriptor, call: Callable[[Any, Context], AsyncIterator[Message]], gate: Gate
) -> Callable[[Any, Context], AsyncIterator[Message]]:
    async def stream(request: object, context: Context) -> AsyncIterator[Message]:
        try:
            _check(request, method, gate)
            async for reply in call(request, context):
                yield reply
        except Exception as error:  # noqa: BLE001 - the boundary: everything becomes a status
            await abort(context, error)

    return stream
