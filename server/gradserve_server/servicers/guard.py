"""Who calls, and whether he may: asked before a servicer is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from operator import attrgetter
from types import SimpleNamespace
from typing import Any, TypeAlias

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from gradserve_server.errors import PermissionDenied
from gradserve_server.rpc import Context
from gradserve_server.security.rules import Rule, rule_of
from gradserve_server.security.tokens import Token, Tokens
from gradserve_server.security.watched import Watched

_Call: TypeAlias = Callable[[Any, Context], Any]

_SUBJECT = "x509_subject"


class Guard:
    """Lets through the calls that the rules allow, and knows who makes them.

    gRPC makes a call's metadata for whoever looks up its method, and once more for whoever asks the call's context,
    which takes longer than all else here. So it is the look-up that keeps what is needed of them, in the context of the
    call's task. An interceptor would see them too, for two more coroutines a call.
    """

    def __init__(self, tokens: Watched[Tokens] | None, *, client_certificates: bool) -> None:
        """Guard one server.

        Args:
            tokens: Those that calls may bring; None if they need none.
            client_certificates: Whether each client has shown one that was verified.
        """
        self._tokens = tokens
        self._client_certificates = client_certificates
        self._authorization: ContextVar[str | None] = ContextVar("authorization", default=None)
        self._token: ContextVar[Token | None] = ContextVar("token", default=None)

    def listening(self, handlers: grpc.GenericRpcHandler) -> grpc.GenericRpcHandler:
        """Handlers whose look-up keeps what a call says of its caller."""
        return handlers if self._tokens is None else _Listening(handlers, self._authorization)

    def guarded(self, service: ServiceDescriptor, servicer: object) -> object:
        """A servicer behind the rules of its methods.

        Raises:
            LookupError: No rule says who may call one of them.
        """
        calls = {}
        for method in service.methods:
            rule, call = rule_of(method.full_name), getattr(servicer, method.name)
            calls[method.name] = self._guarded(rule, call, streams=method.client_streaming)
        return SimpleNamespace(**calls)

    def may_see(self, model: str) -> bool:
        """Whether the caller may know of a model; of a call that needed a token."""
        if self._tokens is None:
            return True
        token = self._token.get()
        return token is not None and token.allows(model)

    def identity(self, context: Context) -> str:
        """Who makes a call: the name of his token, else the subject of his certificate, else his address.

        A name cannot be taken for one of the others: they have colons or equals signs.
        """
        if (token := self._token.get()) is not None:
            return token.name
        return (self._client_certificates and _subject(context)) or context.peer()

    def _guarded(self, rule: Rule, call: _Call, *, streams: bool) -> _Call:
        if self._tokens is None or not rule.token:
            return call
        tokens, model_of = self._tokens, attrgetter(rule.model) if rule.model else None

        def check(request: object = None) -> None:
            token = tokens.value.authenticate(self._authorization.get())
            # Before it is refused: the log tells whose token did not have the right.
            self._token.set(token)
            if request is None and rule.gradient:
                # The requests of the stream tell which right they need.
                return
            right, model = rule.needs("" if request is None or model_of is None else model_of(request))
            token.check(right)
            # The later parts of an upload name no model, and no model has an empty name.
            if model and not token.allows(model):
                raise PermissionDenied("the token is not for this model", field=rule.model, reason="MODEL_DENIED")

        def guarded(request: object, context: Context) -> Any:  # noqa: ANN401 - whatever the call gives
            check(request)
            return call(request, context)

        def guarded_stream(requests: AsyncIterator[object], context: Context) -> Any:  # noqa: ANN401 - as above
            check()
            return call(_checked(requests, check), context)

        return guarded_stream if streams else guarded


class _Listening(grpc.GenericRpcHandler):
    """Finds the handlers of a service, and keeps the authorization of each call that finds one."""

    def __init__(self, handlers: grpc.GenericRpcHandler, authorization: ContextVar[str | None]) -> None:
        self._handlers = handlers
        self._authorization = authorization

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Give the handler of a method; None for one of another service."""
        handler = self._handlers.service(handler_call_details)
        if handler is not None:
            for key, value in handler_call_details.invocation_metadata:
                if key == "authorization" and isinstance(value, str):
                    self._authorization.set(value)
                    break
        return handler


async def _checked(requests: AsyncIterator[object], check: Callable[[object], None]) -> AsyncIterator[object]:
    """The requests of a stream, each checked like a call: also whether its token is still valid."""
    async for request in requests:
        check(request)
        yield request


def _subject(context: Context) -> str:
    return b"".join(context.auth_context().get(_SUBJECT, ())).decode()
