"""InferenceService: Forward and Gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gradserve.v1 import inference_pb2
from gradserve_server.batching.operation import FORWARD, GRADIENT
from gradserve_server.batching.request import Origin, Request
from gradserve_server.dispatcher import Dispatcher
from gradserve_server.errors import InvalidArgument
from gradserve_server.operations import ForwardCall, ForwardResult, GradientCall, GradientResult, LossArgument, LossCall
from gradserve_server.rpc import Context
from gradserve_server.servicers.origins import CallOrigin
from gradserve_server.servicers.replies import forward_reply, gradient_reply
from gradserve_server.servicers.tensors import read_required_tensor, read_tensor

_MOST_ARGUMENTS = 16


class InferenceServicer:
    """Reads requests, has the model compute, writes replies."""

    def __init__(self, dispatcher: Dispatcher, identity: Callable[[Context], str]) -> None:
        self._dispatcher = dispatcher
        self._identity = identity

    async def Forward(self, request: inference_pb2.ForwardRequest, context: Context) -> bytes:  # noqa: N802 - the RPC's name
        """Compute `model(input)`; the reply is the bytes of a ForwardResponse."""
        return await self._dispatcher.submit(request.model, _forward(request, CallOrigin(context, self._identity)))

    async def Gradient(self, request: inference_pb2.GradientRequest, context: Context) -> bytes:  # noqa: N802 - the RPC's name
        """Compute a loss and its gradients, or a vector-Jacobian product; the reply is a GradientResponse's bytes."""
        return await self._dispatcher.submit(request.model, _gradient(request, CallOrigin(context, self._identity)))


def _forward(request: inference_pb2.ForwardRequest, origin: Origin) -> Request[ForwardCall, ForwardResult, bytes]:
    call = ForwardCall(
        input=read_required_tensor(request.input, "input", present=request.HasField("input")),
        training=request.training,
        seed=request.seed if request.HasField("seed") else None,
        deterministic=request.deterministic,
    )
    return Request(FORWARD, call, forward_reply, origin, request.if_version if request.HasField("if_version") else None)


def _gradient(request: inference_pb2.GradientRequest, origin: Origin) -> Request[GradientCall, GradientResult, bytes]:
    call = GradientCall(
        input=read_required_tensor(request.input, "input", present=request.HasField("input")),
        training=request.training,
        seed=request.seed if request.HasField("seed") else None,
        deterministic=request.deterministic,
        loss=_loss_call(request.loss) if request.HasField("loss") else None,
        grad_output=read_tensor(request.grad_output, "grad_output") if request.HasField("grad_output") else None,
        wrt=tuple(request.wrt),
        per_sample=request.per_sample,
        return_output=request.return_output,
    )
    return Request(
        GRADIENT, call, gradient_reply, origin, request.if_version if request.HasField("if_version") else None
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
