"""From a servicer to gRPC's handlers: reading requests, refusing malformed ones, and one error boundary for all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, NoReturn, TypeAlias

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from gradserve_server.errors import InvalidArgument
from gradserve_server.status import Failure, failure_of

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
        servicer: Has an async method for each unary reply and an async generator for each stream of replies; what
            they give is a message, or the bytes of one.
        gate: Asked before each call.
    """
    methods = {method.name: _handler(method, getattr(servicer, method.name), gate) for method in service.methods}
    return grpc.method_handlers_generic_handler(service.full_name, methods)


def _handler(method: MethodDescriptor, call: Callable[..., Any], gate: Gate) -> grpc.RpcMethodHandler[Any, Any]:
    request_type: type[Message] = GetMessageClass(method.input_type)
    wrap, make = _KINDS[method.client_streaming, method.server_streaming]
    handler: grpc.RpcMethodHandler[Any, Any] = make(
        wrap(method, call, gate),
        request_deserializer=_reader(request_type),
        response_serializer=_writer(GetMessageClass(method.output_type)),
    )
    return handler


def _reader(request_type: type[Message]) -> Callable[[bytes], Message | _Malformed]:
    parse = request_type.FromString

    def read(data: bytes) -> Message | _Malformed:
        try:
            return parse(data)
        except DecodeError:
            return _Malformed()

    return read


def _writer(reply_type: type[Message]) -> Callable[[Message | bytes], bytes]:
    serialize = reply_type.SerializeToString

    def write(reply: Message | bytes) -> bytes:
        return reply if isinstance(reply, bytes) else serialize(reply)

    return write


def _check(request: object, method: MethodDescriptor) -> None:
    if isinstance(request, _Malformed):
        message = f"the bytes are not a {method.input_type.full_name} message"
        raise InvalidArgument(message, reason="MALFORMED_MESSAGE")


# gRPC keeps the exception that `abort` raises, with its traceback and all that its frames hold. So each boundary leaves
# its except block, and lets go of the request, before it aborts: else refused requests pile up until a full collection.


def _unary_boundary(
    method: MethodDescriptor, call: Callable[[Any, Context], Awaitable[Message]], gate: Gate
) -> Callable[[Any, Context], Awaitable[Message]]:
    async def unary(request: object, context: Context) -> Message:
        try:
            gate()
            _check(request, method)
            return await call(request, context)
        except Exception as error:  # noqa: BLE001 - the boundary: everything becomes a status
            failure = failure_of(error)
        del request
        return await _abort(context, failure)

    return unary


def _stream_boundary(
    method: MethodDescriptor, call: Callable[[Any, Context], AsyncIterator[Message]], gate: Gate
) -> Callable[[Any, Context], AsyncIterator[Message]]:
    async def stream(request: object, context: Context) -> AsyncIterator[Message]:
        try:
            gate()
            _check(request, method)
            async for reply in call(request, context):
                yield reply
        except Exception as error:  # noqa: BLE001 - the boundary: everything becomes a status
            failure = failure_of(error)
        else:
            return
        del request
        await _abort(context, failure)

    return stream


def _upload_boundary(
    method: MethodDescriptor, call: Callable[[Any, Context], Awaitable[Message]], gate: Gate
) -> Callable[[Any, Context], Awaitable[Message]]:
    async def upload(requests: AsyncIterator[object], context: Context) -> Message:
        try:
            gate()
            return await call(_readable(requests, method), context)
        except Exception as error:  # noqa: BLE001 - the boundary: everything becomes a status
            failure = failure_of(error)
        return await _abort(context, failure)

    return upload


def _duplex_boundary(
    method: MethodDescriptor, call: Callable[[Any, Context], AsyncIterator[Message]], gate: Gate
) -> Callable[[Any, Context], AsyncIterator[Message]]:
    async def duplex(requests: AsyncIterator[object], context: Context) -> AsyncIterator[Message]:
        try:
            gate()
            async for reply in call(_readable(requests, method), context):
                yield reply
        except Exception as error:  # noqa: BLE001 - the boundary: everything becomes a status
            failure = failure_of(error)
        else:
            return
        await _abort(context, failure)

    return duplex


async def _readable(requests: AsyncIterator[object], method: MethodDescriptor) -> AsyncIterator[object]:
    async for request in requests:
        _check(request, method)
        yield request


async def _abort(context: Context, failure: Failure) -> NoReturn:
    await context.abort(failure.code, failure.details, failure.trailing_metadata)


_KINDS: Mapping[tuple[bool, bool], tuple[Callable[..., Any], Callable[..., Any]]] = {
    (False, False): (_unary_boundary, grpc.unary_unary_rpc_method_handler),
    (False, True): (_stream_boundary, grpc.unary_stream_rpc_method_handler),
    (True, False): (_upload_boundary, grpc.stream_unary_rpc_method_handler),
    (True, True): (_duplex_boundary, grpc.stream_stream_rpc_method_handler),
}
"""How a method is wrapped and made a handler, by whether its requests and its replies are streams."""
