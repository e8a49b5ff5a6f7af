"""InferenceService: each operation as a call of its own, and Forward and Gradient as streams of requests too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TypeAlias, TypeVar

from gradserve.v1 import inference_pb2
from gradserve_server.batching.operation import CHECK_GRADIENTS, FORWARD, GRADIENT, HVP, JACOBIAN, JVP, Operation
from gradserve_server.batching.request import Origin, Request
from gradserve_server.dispatcher import Dispatcher
from gradserve_server.errors import InvalidArgument
from gradserve_server.operations.calls import ForwardCall, GradientCall
from gradserve_server.operations.results import Result
from gradserve_server.rpc import Context
from gradserve_server.servicers.calls import (
    check_gradients_call,
    forward_call,
    gradient_call,
    hvp_call,
    jacobian_call,
    jvp_call,
)
from gradserve_server.servicers.forms import Readable
from gradserve_server.servicers.origins import CallOrigin, ItemOrigin
from gradserve_server.servicers.replies import (
    check_gradients_reply,
    forward_answer,
    forward_reply,
    gradient_answer,
    gradient_reply,
    hvp_reply,
    jacobian_reply,
    jvp_reply,
)
from gradserve_server.servicers.streams import Streams

CallT = TypeVar("CallT", bound=ForwardCall)
ResultT = TypeVar("ResultT", bound=Result)


_Reply: TypeAlias = bytes | asyncio.Future[bytes]


class InferenceServicer:
    """Reads requests, has the model compute, writes replies."""

    def __init__(self, dispatcher: Dispatcher, streams: Streams, identity: Callable[[Context], str]) -> None:
        self._dispatcher = dispatcher
        self._streams = streams
        self._identity = identity

    def Forward(self, request: Readable[ForwardCall], context: Context) -> _Reply:  # noqa: N802 - the RPC's name
        """Compute `model(input)`; the reply is the bytes of a ForwardResponse."""
        return self._submit(FORWARD, request.model, request.read, forward_reply, context)

    def Gradient(self, request: Readable[GradientCall], context: Context) -> _Reply:  # noqa: N802 - the RPC's name
        """Compute a loss and its gradients, or a vector-Jacobian product; the reply is a GradientResponse's bytes."""
        return self._submit(GRADIENT, request.model, request.read, gradient_reply, context)

    def Jvp(self, request: inference_pb2.JvpRequest, context: Context) -> _Reply:  # noqa: N802 - the RPC's name
        """Compute Jacobian-vector products; the reply is the bytes of a JvpResponse."""
        return self._submit(JVP, request.model, partial(jvp_call, request), jvp_reply, context)

    def Jacobian(self, request: inference_pb2.JacobianRequest, context: Context) -> _Reply:  # noqa: N802 - the RPC's name
        """Compute the Jacobian of each row; the reply is the bytes of a JacobianResponse."""
        return self._submit(JACOBIAN, request.model, partial(jacobian_call, request), jacobian_reply, context)

    def Hvp(self, request: inference_pb2.HvpRequest, context: Context) -> _Reply:  # noqa: N802 - the RPC's name
        """Compute Hessian-vector products; the reply is the bytes of an HvpResponse."""
        return self._submit(HVP, request.model, partial(hvp_call, request), hvp_reply, context)

    def CheckGradients(self, request: inference_pb2.CheckGradientsRequest, context: Context) -> _Reply:  # noqa: N802 - the RPC's name
        """Check a copy's derivatives; the reply is the bytes of a CheckGradientsResponse."""
        return self._submit(
            CHECK_GRADIENTS, request.model, partial(check_gradients_call, request), check_gradients_reply, context
        )

    def ForwardStream(  # noqa: N802 - the RPC's name
        self, requests: AsyncIterator[inference_pb2.ForwardStreamRequest], context: Context
    ) -> AsyncIterator[bytes]:
        """Answer requests of Forward as they come; the answers are the bytes of ForwardStreamResponses."""
        call = CallOrigin(context, self._identity)

        def submit(item: inference_pb2.ForwardStreamRequest) -> _Reply:
            origin = _item_origin(item, call)
            read, reply = partial(forward_call, item.request), partial(forward_answer, item.id)
            return self._dispatcher.submit(Request(item.request.model, FORWARD, read, reply, origin))

        return self._streams.answers(requests, submit, context)

    def GradientStream(  # noqa: N802 - the RPC's name
        self, requests: AsyncIterator[inference_pb2.GradientStreamRequest], context: Context
    ) -> AsyncIterator[bytes]:
        """Answer requests of Gradient as they come; the answers are the bytes of GradientStreamResponses."""
        call = CallOrigin(context, self._identity)

        def submit(item: inference_pb2.GradientStreamRequest) -> _Reply:
            origin = _item_origin(item, call)
            read, reply = partial(gradient_call, item.request), partial(gradient_answer, item.id)
            return self._dispatcher.submit(Request(item.request.model, GRADIENT, read, reply, origin))

        return self._streams.answers(requests, submit, context)

    def _submit(
        self,
        operation: Operation[CallT, ResultT],
        model: str,
        read: Callable[[], CallT],
        reply: Callable[[ResultT, int], bytes],
        context: Context,
    ) -> _Reply:
        origin = CallOrigin(context, self._identity)
        return self._dispatcher.submit(Request(model, operation, read, reply, origin))


def _item_origin(
    item: inference_pb2.ForwardStreamRequest | inference_pb2.GradientStreamRequest, call: Origin
) -> Origin:
    if not item.HasField("request"):
        raise InvalidArgument("required", field="request")
    return ItemOrigin(call, item.timeout.seconds + item.timeout.nanos * 1e-9) if item.HasField("timeout") else call
