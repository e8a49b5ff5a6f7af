"""From a servicer to gRPC's handlers: reading requests, refusing malformed ones, and one error boundary for all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from time import perf_counter
from types import MappingProxyType, TracebackType
from typing import Any, Final, NamedTuple, NoReturn, Self, TypeAlias

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from gradserve_server.calls import CALL, REQUEST_ID_KEY, Call
from gradserve_server.errors import InvalidArgument
from gradserve_server.facts import GrpcType, Instruments, RpcFact, RpcMethod
from gradserve_server.status import Failure, failure_of

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Parse: TypeAlias = Callable[[bytes], object]
"""Makes a request of its bytes; raises DecodeError."""
Gate: TypeAlias = Callable[[], None]
"""Raises a ServiceError while calls are not to be let in."""


_MALFORMED: Final = object()
"""Stands for a request that could not be read: raising while reading would reach the caller as UNKNOWN."""


class _Endpoint(NamedTuple):
    """One method that is served: its names, and who answers and who watches its calls."""

    method: RpcMethod
    input_type: str
    call: Callable[[Any, Context], Any]
    gate: Gate
    instruments: Instruments
    named: bool


def open_gate() -> None:
    """Let every call in."""


def handlers(
    service: ServiceDescriptor,
    servicer: object,
    instruments: Instruments,
    gate: Gate = open_gate,
    *,
    named: bool = False,
    parsers: Mapping[str, Parse] = MappingProxyType({}),
) -> grpc.GenericRpcHandler:
    """The handlers of all methods of a service.

    Args:
        service: Its descriptor; each method is looked up on the servicer by its name.
        servicer: Has an async method for each unary reply and an async generator for each stream of replies; what
            they give is a message, or the bytes of one. A method that has these at once may give them without being
            awaited.
        instruments: Told of each method, and of each call that reaches its handler.
        gate: Asked before each call.
        named: Whether each unary call can be asked for as CALL, from its start; others can be, and those that fail.
        parsers: How requests are parsed, by the names of the methods that do not get them as messages.
    """
    by_name = {}
    for method in service.methods:
        call = getattr(servicer, method.name)
        name = _name(method)
        is_named = named or name.grpc_type != "unary"
        endpoint = _Endpoint(name, method.input_type.full_name, call, gate, instruments, is_named)
        instruments.rpc_served(endpoint.method)
        by_name[method.name] = _handler(method, endpoint, parsers.get(method.name, _message_class(method).FromString))
    return grpc.method_handlers_generic_handler(service.full_name, by_name)


def _name(method: MethodDescriptor) -> RpcMethod:
    grpc_type = _GRPC_TYPES[method.client_streaming, method.server_streaming]
    return RpcMethod(grpc_type, method.containing_service.full_name, method.name)


def _message_class(method: MethodDescriptor) -> type[Message]:
    found: type[Message] = GetMessageClass(method.input_type)
    return found


def _handler(method: MethodDescriptor, endpoint: _Endpoint, parse: Parse) -> grpc.RpcMethodHandler[Any, Any]:
    wrap, make = _KINDS[endpoint.method.grpc_type]
    handler: grpc.RpcMethodHandler[Any, Any] = make(
        wrap(endpoint),
        request_deserializer=_reader(parse),
        response_serializer=_writer(GetMessageClass(method.output_type)),
    )
    return handler


def _reader(parse: Parse) -> Parse:
    def read(data: bytes) -> object:
        try:
            return parse(data)
        except DecodeError:
            return _MALFORMED

    return read


def _writer(reply_type: type[Message]) -> Callable[[Message | bytes], bytes]:
    serialize = reply_type.SerializeToString

    def write(reply: Message | bytes) -> bytes:
        return reply if isinstance(reply, bytes) else serialize(reply)

    return write


def _cancellation(context: Context) -> str:
    # gRPC cancels a call both when its caller goes away and when its deadline passes.
    return "DEADLINE_EXCEEDED" if context.time_remaining() == 0 else "CANCELLED"


class _Rpc(Call):
    """One call, as a block: the error boundary, which tells the instruments what becomes of the call.

    An exception inside ends the block and becomes the call's failure; a cancellation goes on through it.

    Attributes:
        failure: How the call failed; there once it has.
    """

    context: Context
    failure: Failure

    def __init__(self, endpoint: _Endpoint, context: Context) -> None:
        super().__init__(endpoint.method, context)
        self._endpoint = endpoint

    def __enter__(self) -> Self:
        self._start = perf_counter()
        if self._endpoint.named:
            CALL.set(self)
        self._endpoint.instruments.rpc_started(self.method)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        if error is not None:
            # Also because a stream that its caller has left may be ended in another task.
            CALL.set(self)
        if isinstance(error, Exception):
            self.failure = failure_of(error)
            return True
        self._tell("OK" if error is None else _cancellation(self.context))
        return False

    def _tell(self, code: str, reason: str = "", message: str = "") -> None:
        seconds = perf_counter() - self._start
        self._endpoint.instruments.rpc_handled(RpcFact(self.method, code, seconds, reason, message))

    async def abort(self) -> NoReturn:
        """Tell the caller of the failure, and what has become of the call.

        To a handler that reads, gRPC shows a caller who goes away as one who has no more to send. So a call may fail
        for the lack of a message and turn out to be cancelled: then its caller cannot be told.
        """
        failure = self.failure
        trailers = (*failure.trailing_metadata, (REQUEST_ID_KEY, self.request_id))
        try:
            await self.context.abort(failure.code, failure.details, trailers)
        except grpc.aio.AbortError:
            self._tell(failure.code.name, failure.reason, failure.details)
            raise
        except BaseException as gone:
            self._tell(_cancellation(self.context))
            # What gRPC raises where there is nobody left to tell, it would log as an error of the server.
            raise asyncio.CancelledError from gone


def _check(request: object, endpoint: _Endpoint) -> None:
    if request is _MALFORMED:
        message = f"the bytes are not a {endpoint.input_type} message"
        raise InvalidArgument(message, reason="MALFORMED_MESSAGE")


# gRPC keeps the exception that `abort` raises, with its traceback and all that its frames hold. So each boundary leaves
# the block of the call, and lets go of the request, before it aborts: else refused requests pile up until a full
# collection.


def _unary_boundary(endpoint: _Endpoint) -> Callable[[Any, Context], Awaitable[Message | bytes]]:
    async def unary(request: object, context: Context) -> Message | bytes:
        with _Rpc(endpoint, context) as rpc:
            endpoint.gate()
            _check(request, endpoint)
            reply = endpoint.call(request, context)
            return reply if isinstance(reply, bytes) else await reply
        request = reply = None
        return await rpc.abort()

    return unary


def _stream_boundary(endpoint: _Endpoint) -> Callable[[Any, Context], AsyncIterator[Message]]:
    async def stream(request: object, context: Context) -> AsyncIterator[Message]:
        with _Rpc(endpoint, context) as rpc:
            endpoint.gate()
            _check(request, endpoint)
            async for reply in endpoint.call(request, context):
                yield reply
                endpoint.instruments.rpc_sent(endpoint.method)
            return
        del request
        await rpc.abort()

    return stream


def _upload_boundary(endpoint: _Endpoint) -> Callable[[Any, Context], Awaitable[Message]]:
    async def upload(requests: AsyncIterator[object], context: Context) -> Message:
        with _Rpc(endpoint, context) as rpc:
            endpoint.gate()
            reply: Message = await endpoint.call(_readable(requests, endpoint), context)
            return reply
        return await rpc.abort()

    return upload


def _duplex_boundary(endpoint: _Endpoint) -> Callable[[Any, Context], AsyncIterator[Message]]:
    async def duplex(requests: AsyncIterator[object], context: Context) -> AsyncIterator[Message]:
        with _Rpc(endpoint, context) as rpc:
            endpoint.gate()
            async for reply in endpoint.call(_readable(requests, endpoint), context):
                yield reply
                endpoint.instruments.rpc_sent(endpoint.method)
            return
        await rpc.abort()

    return duplex


async def _readable(requests: AsyncIterator[object], endpoint: _Endpoint) -> AsyncIterator[object]:
    async for request in requests:
        _check(request, endpoint)
        endpoint.instruments.rpc_received(endpoint.method)
        yield request


_GRPC_TYPES: Mapping[tuple[bool, bool], GrpcType] = {
    (False, False): "unary",
    (False, True): "server_stream",
    (True, False): "client_stream",
    (True, True): "bidi_stream",
}
"""What a method is, by whether its requests and its replies are streams."""

_KINDS: Mapping[GrpcType, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "unary": (_unary_boundary, grpc.unary_unary_rpc_method_handler),
    "server_stream": (_stream_boundary, grpc.unary_stream_rpc_method_handler),
    "client_stream": (_upload_boundary, grpc.stream_unary_rpc_method_handler),
    "bidi_stream": (_duplex_boundary, grpc.stream_stream_rpc_method_handler),
}
"""How a method of each kind is wrapped and made a handler."""
