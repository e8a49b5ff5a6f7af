"""From messages to results: pure functions, for whoever carries the calls."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from gradserve import codec
from gradserve._architecture import Layer, LayerArgument, Sequential
from gradserve._arrays import ArrayLike, to_kind_of
from gradserve._results import Device, Gradients, Limits, ModelInfo, ParameterInfo, ServerInfo
from gradserve.v1 import inference_pb2, model_pb2, tensor_pb2


def array(tensor: tensor_pb2.Tensor, kind_of: ArrayLike) -> Any:  # noqa: ANN401 - the caller's overloads name the type
    """Return a tensor in the kind of the input, in memory of its own that may be written to."""
    return to_kind_of(kind_of, codec.decode(tensor).copy())


def gradients(reply: inference_pb2.GradientResponse, kind_of: ArrayLike) -> Gradients[Any]:
    """Return what Gradient computed, in the kind of the input."""
    return Gradients(
        version=reply.version,
        seed=reply.seed if reply.HasField("seed") else None,
        _gradients={name: array(reply.gradients[name], kind_of) for name in sorted(reply.gradients, key=_position)},
        _loss=array(reply.loss, kind_of) if reply.HasField("loss") else None,
        _output=array(reply.output, kind_of) if reply.HasField("output") else None,
    )


def model_info(model: model_pb2.Model) -> ModelInfo:
    """Return what the server tells of a model."""
    return ModelInfo(
        name=model.name,
        architecture=Sequential(_layer(layer) for layer in model.architecture.sequential.layers),
        dtype=codec.dtype_name(model.dtype),
        device=model.device,
        version=model.version,
        total_parameters=model.total_parameters,
        trainable_parameters=model.trainable_parameters,
        named_parameters=tuple(map(_parameter_info, model.named_parameters)),
        text=model.text,
        supported_operations=tuple(model.supported_operations),
        serving=model.state == model_pb2.MODEL_STATE_SERVING,
        state_reason=model.state_reason,
        create_time=model.create_time.ToDatetime(tzinfo=UTC),
        seed=model.seed if model.HasField("seed") else None,
    )


def server_info(reply: model_pb2.GetServerInfoResponse) -> ServerInfo:
    """Return what the server tells of itself."""
    limits = reply.limits
    return ServerInfo(
        version=reply.version,
        torch_version=reply.torch_version,
        devices=tuple(Device(device.name, device.description, device.memory_bytes) for device in reply.devices),
        num_threads=reply.num_threads,
        limits=Limits(
            max_message_bytes=limits.max_message_bytes,
            max_rows=limits.max_rows,
            max_elements=limits.max_elements,
            max_parameters=limits.max_parameters,
            max_layers=limits.max_layers,
            max_models=limits.max_models,
        ),
        metrics_address=reply.metrics_address,
        layer_types=tuple(reply.layer_types),
        losses=tuple(reply.losses),
    )


def _position(name: str) -> tuple[bool, int, bool, str]:
    """Return what sorts names as named_parameters() has them, and the input last; a message's map has no order."""
    _, _, rest = name.partition("layers.")
    index, _, parameter = rest.partition(".")
    return name == "input", int(index or 0), parameter == "bias", parameter


def _parameter_info(parameter: model_pb2.Parameter) -> ParameterInfo:
    return ParameterInfo(
        name=parameter.name,
        shape=tuple(parameter.shape),
        dtype=codec.dtype_name(parameter.dtype),
        requires_grad=parameter.requires_grad,
    )


def _layer(layer: model_pb2.Layer) -> Layer:
    return Layer(layer.type, **{name: _layer_argument(layer.arguments[name]) for name in sorted(layer.arguments)})


def _layer_argument(argument: model_pb2.LayerArgument) -> LayerArgument:
    kind = argument.WhichOneof("value")
    if kind == "int_list":
        return tuple(argument.int_list.values)
    value: LayerArgument = getattr(argument, kind) if kind else ""
    return value
