"""InferenceService: Forward and Gradient."""

from __future__ import annotations

from collections.abc import Mapping

from gradserve import codec
from gradserve.v1 import inference_pb2, inference_pb2_grpc
from gradserve_server.errors import InvalidArgument
from gradserve_server.facts import Instruments
from gradserve_server.operations import ForwardCall, GradientCall, LossArgument, LossCall
from gradserve_server.registry import Registry
from gradserve_server.rpc import Context
from gradserve_server.servicers.observation import Observation
from gradserve_server.servicers.tensors import read_required_tensor, read_tensor

_MOST_ARGUMENTS = 16


class InferenceServicer(inference_pb2_grpc.InferenceServiceServicer):
    """Reads requests, has the model compute, writes replies."""

    def __init__(self, registry: Registry, instruments: Instruments) -> None:
        self._registry = registry
        self._instruments = instruments

    async def Forward(  # noqa: N802 - the RPC's name
        self, request: inference_pb2.ForwardRequest, context: Context
    ) -> inference_pb2.ForwardResponse:
        """Compute `model(input)`."""
        hosted = self._registry.get(request.model, field_path="model")
        with Observation(self._instruments, hosted.name, "forward", context) as observation:
            hosted.check_read(request.if_version if request.HasField("if_version") else None)
            call = _forward_call(request)
            result = await hosted.forward(call)
            observation.computed(call.rows, result.output)
            return inference_pb2.ForwardResponse(
                output=codec.encode(result.output), version=hosted.version, seed=result.seed
            )

    async def Gradient(  # noqa: N802 - the RPC's name
        self, request: inference_pb2.GradientRequest, context: Context
    ) -> inference_pb2.GradientResponse:
        """Compute a loss and its gradients, or a vector-Jacobian product."""
        hosted = self._registry.get(request.model, field_path="model")
        with Observation(self._instruments, hosted.name, "gradient", context) as observation:
            hosted.check_read(request.if_version if request.HasField("if_version") else None)
            call = _gradient_call(request)
            result = await hosted.gradient(call)
            observation.computed(call.rows, result.loss, result.output, *result.gradients.values())
            return inference_pb2.GradientResponse(
                loss=None if result.loss is None else codec.encode(result.loss),
                output=None if result.output is None else codec.encode(result.output),
                gradients={name: codec.encode(gradient) for name, gradient in result.gradients.items()},
                version=hosted.version,
                seed=result.seed,
            )


def _forward_call(request: inference_pb2.ForwardRequest) -> ForwardCall:
    return ForwardCall(
        input=read_required_tensor(request.input, "input", present=request.HasField("input")),
        training=request.training,
        seed=request.seed if request.HasField("seed") else None,
        deterministic=request.deterministic,
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
