"""InferenceService: Forward and Gradient, each as a call of its own and as a stream of requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial

from gradserve.v1 import inference_pb2
from gradserve_server.batching.operation import FORWARD, GRADIENT
from gradserve_server.batching.request import Origin, Request
from gradserve_server.dispatcher import Dispatcher
from gradserve_server.errors import InvalidArgument
from gradserve_server.operations import ForwardCall, GradientCall, LossArgument, LossCall
from gradserve_server.rpc import Context
from gradserve_server.servicers.origins import CallOrigin, ItemOrigin
from gradserve_server.servicers.replies import forward_answer, forward_reply, gradient_answer, gradient_reply
from gradserve_server.servicers.streams import Streams
from gradserve_server.servicers.tensors import read_required_tensor, read_tensor

_MOST_ARGUMENTS = 16


class InferenceServicer:
    """Reads requests, has the model compute, writes replies."""

    def __init__(self, dispatcher: Dispatcher, streams: Streams, identity: Callable[[Context], str]) -> None:
        self._dispatcher = dispatcher
        self._streams = streams
        self._identity = identity

    async def Forward(self, request: inference_pb2.ForwardRequest, context: Context) -> bytes:  # noqa: N802 - the RPC's name
        """Compute `model(input)`; the reply is the bytes of a ForwardResponse."""
        read = partial(_forward_call, request)
        origin = CallOrigin(context, self._identity)
        reply = self._dispatcher.submit(request.model, Request(FORWARD, read, forward_reply, origin))
        return reply if isinstance(reply, bytes) else await reply

    async def Gradient(self, request: inference_pb2.GradientRequest, context: Context) -> bytes:  # noqa: N802 - the RPC's name
        """Compute a loss and its gradients, or a vector-Jacobian product; the reply is a GradientResponse's bytes."""
        read = partial(_gradient_call, request)
        origin = CallOrigin(context, self._identity)
        reply = self._dispatcher.submit(request.model, Request(GRADIENT, read, gradient_reply, origin))
        return reply if isinstance(reply, bytes) else await reply

    def ForwardStream(  # noqa: N802 - the RPC's name
        self, requests: AsyncIterator[inference_pb2.ForwardStreamRequest], context: Context
    ) -> AsyncIterator[bytes]:
        """Answer requests of Forward as they come; the answers are the bytes of ForwardStreamResponses."""

        def submit(item: inference_pb2.ForwardStreamRequest) -> bytes | asyncio.Future[bytes]:
            origin = _item_origin(item, context, self._identity)
            read, reply = partial(_forward_call, item.request), partial(forward_answer, item.id)
            return self._dispatcher.submit(item.request.model, Request(FORWARD, read, reply, origin))

        return self._streams.answers(requests, submit, context)

    def GradientStream(  # noqa: N802 - the RPC's name
        self, requests: AsyncIterator[inference_pb2.GradientStreamRequest], context: Context
    ) -> AsyncIterator[bytes]:
        """Answer requests of Gradient as they come; the answers are the bytes of GradientStreamResponses."""

        def submit(item: inference_pb2.GradientStreamRequest) -> bytes | asyncio.Future[bytes]:
            origin = _item_origin(item, context, self._identity)
            read, reply = partial(_gradient_call, item.request), partial(gradient_answer, item.id)
            return self._dispatcher.submit(item.request.model, Request(GRADIENT, read, reply, origin))

        return self._streams.answers(requests, submit, context)


def _item_origin(
    item: inference_pb2.ForwardStreamRequest | inference_pb2.GradientStreamRequest,
    context: Context,
    identity: Callable[[Context], str],
) -> Origin:
    if not item.HasField("request"):
        raise InvalidArgument("required", field="request")
    if not item.HasField("timeout"):
        return CallOrigin(context, identity)
    return ItemOrigin(context, identity, item.timeout.seconds + item.timeout.nanos * 1e-9)


def _forward_call(request: inference_pb2.ForwardRequest) -> ForwardCall:
    return ForwardCall(
        input=read_required_tensor(request.input, "input", present=request.HasField("input")),
        training=request.training,
        seed=request.seed if request.HasField("seed") else None,
        deterministic=request.deterministic,
        if_version=request.if_version if request.HasField("if_version") else None,
    )


def _gradient_call(request: inference_pb2.GradientRequest) -> GradientCall:
    return GradientCall(
        input=read_required_tensor(request.input, "input", present=request.HasField("input")),
        training=request.training,
        seed=request.seed if request.HasField("seed") else None,
        deterministic=request.deterministic,
        loss=_loss_call(request.loss) if request.HasField("loss") else None,
        grad_output=read_tensor(request.grad_output, "grad_output") if request.HasField("grad_output") else None,
        wrt=tuple(request.wrt),
        per_sample=request.per_sample,
        return_output=request.return_output,
        if_version=request.if_version if request.HasField("if_version") else None,
    )


def _loss_call(loss: inference_pb2.Loss) -> LossCall:
    return LossCall(
        name=loss.name,
        target=read_tensor(loss.target, "loss.target") if loss.HasField("target") else None,
        reduction=loss.reduction,
        arguments=_loss_arguments(loss.arguments),
    )


def _loss_arguments(arguments: Mapping[str, inference_pb2.LossArgument]) -> dict[str, LossArgument]:
    if len(arguments) > _MOST_ARGUMENTS:
        raise InvalidArgument(f"no loss takes {len(arguments)} arguments", field="loss.arguments")
    values: dict[str, LossArgument] = {}
    for name, argument in arguments.items():
        path = f"loss.arguments[{name}]"
        kind = argument.WhichOneof("value")
        if kind is None:
            raise InvalidArgument(f"argument {name!r} has no value", field=path)
        value = getattr(argument, kind)
        values[name] = read_tensor(value, path) if kind == "tensor_value" else value
    return values
