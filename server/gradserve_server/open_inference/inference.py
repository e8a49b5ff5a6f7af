"""ModelInfer and ModelStreamInfer: requests to compute, handed to the models as those of gradserve.v1 are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Final, NamedTuple

from gradserve_server.batching.operation import FORWARD, GRADIENT
from gradserve_server.batching.request import Origin, Request
from gradserve_server.dispatcher import Dispatcher
from gradserve_server.errors import ServiceError
from gradserve_server.gradient_names import split
from gradserve_server.open_inference import replies
from gradserve_server.open_inference.forms import ReadableInfer, infer_call
from gradserve_server.open_inference.grpc_service_pb2 import ModelInferRequest
from gradserve_server.open_inference.parameters import timeout_of
from gradserve_server.open_inference.refusals import infer_refusal
from gradserve_server.operations.results import ForwardResult, GradientResult
from gradserve_server.rpc import Context
from gradserve_server.servicers.origins import CallOrigin, ItemOrigin
from gradserve_server.servicers.streams import Streams
from gradserve_server.status import failure_of

_STATUS_ENDS_STREAM: Final = ("triton_grpc_error", "true")
"""The metadata of a stream that is to end with the status of the first request that fails."""


class _Writers(NamedTuple):
    """What makes the bytes of a result: those of a reply, or those of an answer in a stream."""

    forward: Callable[[ModelInferRequest, ForwardResult, int], bytes]
    gradient: Callable[[ModelInferRequest, GradientResult, int], bytes]


_REPLY: Final = _Writers(replies.forward_reply, replies.gradient_reply)
_ANSWER: Final = _Writers(replies.forward_answer, replies.gradient_answer)


class Inference:
    """Reads requests, has models compute, writes replies."""

    def __init__(self, dispatcher: Dispatcher, streams: Streams, identity: Callable[[Context], str]) -> None:
        self._dispatcher = dispatcher
        self._streams = streams
        self._identity = identity

    async def reply(self, readable: ReadableInfer, context: Context) -> bytes:
        """The bytes of a ModelInferResponse.

        Raises:
            ServiceError: If the request is refused, with the status that Triton has for it.
        """
        reply: bytes | asyncio.Future[bytes] | None = None
        try:
            reply = self._submit(readable.request, readable.read, CallOrigin(context, self._identity), _REPLY)
            return reply if isinstance(reply, bytes) else await reply
        except ServiceError as refusal:
            raise infer_refusal(refusal, readable.request) from refusal
        finally:
            # The frames of a refusal know this one, and what waits for it knows the refusal.
            reply = None

    def answers(self, requests: AsyncIterator[ModelInferRequest], context: Context) -> AsyncIterator[bytes]:
        """The bytes of ModelStreamInferResponses, in the order of the requests."""
        status_ends = _STATUS_ENDS_STREAM in tuple(context.invocation_metadata() or ())
        call = CallOrigin(context, self._identity)

        def submit(request: ModelInferRequest) -> bytes | asyncio.Future[bytes]:
            return self._submit(request, partial(infer_call, request), call, _ANSWER)

        def refuse(request: ModelInferRequest, error: Exception) -> bytes:
            told = infer_refusal(error, request) if isinstance(error, ServiceError) else error
            if status_ends:
                raise told
            return replies.failed_answer(request.id, failure_of(told).details)

        # tritonclient tells its caller of a refusal, but not which request was refused.
        return self._streams.answers(requests, submit, context, refuse, ordered=True)

    def _submit(
        self, request: ModelInferRequest, read: Callable[[], Any], call: Origin, writers: _Writers
    ) -> bytes | asyncio.Future[bytes]:
        model, of_gradient = split(request.model_name)
        origin = _origin(request, call)
        if of_gradient:
            return self._dispatcher.submit(Request(model, GRADIENT, read, partial(writers.gradient, request), origin))
        return self._dispatcher.submit(Request(model, FORWARD, read, partial(writers.forward, request), origin))


def _origin(request: ModelInferRequest, call: Origin) -> Origin:
    seconds = timeout_of(request.parameters) if request.parameters else None
    return call if seconds is None else ItemOrigin(call, seconds)
