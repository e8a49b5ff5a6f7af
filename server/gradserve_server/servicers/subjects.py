"""What calls are about: the model that a request names, known to the log also where the call is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor

from gradserve_server.calls import CALL
from gradserve_server.rpc import Context
from gradserve_server.security.rules import rule_of


def noted(service: ServiceDescriptor, servicer: object) -> object:
    """A servicer of whose calls it is noted which model and which checkpoint they are about.

    Streams of requests to compute are left alone: each of their requests names a model of its own.
    """
    calls = {}
    for method in service.methods:
        call, path = getattr(servicer, method.name), rule_of(method.full_name).model
        if path and not (method.client_streaming and method.server_streaming):
            call = _noted_stream(call, path) if method.client_streaming else _noted(call, path)
        calls[method.name] = call
    return SimpleNamespace(**calls)


def _noted(call: Callable[[Any, Context], Any], path: str) -> Callable[[Any, Context], Any]:
    model_of = attrgetter(path)

    def note(request: object, context: Context) -> Any:  # noqa: ANN401 - whatever the call gives
        if (current := CALL.get()) is not None:
            current.model = model_of(request)
            current.checkpoint = getattr(request, "checkpoint", "")
        return call(request, context)

    return note


def _noted_stream(call: Callable[[Any, Context], Any], path: str) -> Callable[[Any, Context], Any]:
    model_of = attrgetter(path)

    async def noting(requests: AsyncIterator[object]) -> AsyncIterator[object]:
        async for request in requests:
            # The later parts of an upload name no model.
            if (current := CALL.get()) is not None and not current.model:
                current.model = model_of(request)
            yield request

    def note(requests: AsyncIterator[object], context: Context) -> Any:  # noqa: ANN401 - as above
        return call(noting(requests), context)

    return note
