"""From messages to results: pure functions, for whoever carries the calls."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Any, Final, TypeAlias

from gradserve import codec
from gradserve._architecture import Layer, LayerArgument, Sequential
from gradserve._arrays import Array, ArrayLike, to_kind_of
from gradserve._derivative_results import (
    CheckedGradients,
    GradientCheck,
    Gradients,
    HessianVectorProducts,
    Jacobians,
    JacobianVectorProduct,
    TaylorRemainder,
)
from gradserve._results import (
    Checkpoint,
    Device,
    Limits,
    LoadedStateDict,
    ModelInfo,
    ParameterInfo,
    ServerInfo,
    StateDict,
)
from gradserve.v1 import inference_pb2, model_pb2, state_pb2, tensor_pb2

_Seeded: TypeAlias = (
    inference_pb2.GradientResponse
    | inference_pb2.JvpResponse
    | inference_pb2.JacobianResponse
    | inference_pb2.HvpResponse
)

_IN_A_LAYER: Final = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def array(tensor: tensor_pb2.Tensor, kind_of: ArrayLike) -> Any:  # noqa: ANN401 - the caller's overloads name the type
    """Return a tensor in the kind of the input, in memory of its own that may be written to."""
    return to_kind_of(kind_of, codec.decode(tensor).copy())


def gradients(reply: inference_pb2.GradientResponse, kind_of: ArrayLike) -> Gradients[Any]:
    """Return what Gradient computed, in the kind of the input."""
    return Gradients(
        version=reply.version,
        seed=_seed(reply),
        _by_name=_by_name(reply.gradients, kind_of),
        _loss=array(reply.loss, kind_of) if reply.HasField("loss") else None,
        _output=array(reply.output, kind_of) if reply.HasField("output") else None,
        _norms=array(reply.norms, kind_of) if reply.HasField("norms") else None,
    )


def jvp(reply: inference_pb2.JvpResponse, kind_of: ArrayLike) -> JacobianVectorProduct[Any]:
    """Return what Jvp computed, in the kind of the input."""
    return JacobianVectorProduct(
        jvp=array(reply.jvp, kind_of),
        version=reply.version,
        seed=_seed(reply),
        _output=array(reply.output, kind_of) if reply.HasField("output") else None,
    )


def jacobians(reply: inference_pb2.JacobianResponse, kind_of: ArrayLike) -> Jacobians[Any]:
    """Return what Jacobian computed, in the kind of the input."""
    return Jacobians(
        version=reply.version,
        seed=_seed(reply),
        _by_name=_by_name(reply.jacobians, kind_of),
        _output=array(reply.output, kind_of) if reply.HasField("output") else None,
    )


def hvp(reply: inference_pb2.HvpResponse, kind_of: ArrayLike) -> HessianVectorProducts[Any]:
    """Return what Hvp computed, in the kind of the input."""
    return HessianVectorProducts(
        version=reply.version,
        seed=_seed(reply),
        _by_name=_by_name(reply.products, kind_of),
        gradients=_by_name(reply.gradients, kind_of),
        _loss=array(reply.loss, kind_of) if reply.HasField("loss") else None,
    )


def checked_gradients(reply: inference_pb2.CheckGradientsResponse) -> CheckedGradients:
    """Return what CheckGradients found."""
    return CheckedGradients(reply.passed, tuple(map(_gradient_check, reply.checks)), reply.version, reply.seed)


def model_info(model: model_pb2.Model) -> ModelInfo:
    """Return what the server tells of a model."""
    return ModelInfo(
        name=model.name,
        architecture=Sequential(_layer(layer) for layer in model.architecture.sequential.layers),
        dtype=codec.dtype_name(model.dtype) if model.dtype else "",
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
        unsaved=model.unsaved,
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
            min_upload_bytes_per_second=limits.min_upload_bytes_per_second,
            max_stream_requests=limits.max_stream_requests,
        ),
        metrics_address=reply.metrics_address,
        layer_types=tuple(reply.layer_types),
        losses=tuple(reply.losses),
    )


def state_dict(arrays: Mapping[str, Array], version: int) -> StateDict:
    """Return weights in torch's order."""
    return StateDict({name: arrays[name] for name in sorted(arrays, key=_position)}, version)


def loaded(reply: state_pb2.LoadStateDictResponse) -> LoadedStateDict:
    """Return what LoadStateDict came to."""
    return LoadedStateDict(reply.version, tuple(reply.missing_keys), tuple(reply.unexpected_keys))


def checkpoint(message: state_pb2.Checkpoint) -> Checkpoint:
    """Return what the server tells of a checkpoint."""
    return Checkpoint(
        name=message.name,
        version=message.version,
        create_time=message.create_time.ToDatetime(tzinfo=UTC),
        size_bytes=message.size_bytes,
        sha256=message.sha256.hex(),
        metadata=dict(sorted(message.metadata.items())),
        automatic=message.automatic,
        live=message.live,
    )


def _by_name(tensors: Mapping[str, tensor_pb2.Tensor], kind_of: ArrayLike) -> dict[str, Any]:
    return {name: array(tensors[name], kind_of) for name in sorted(tensors, key=_position)}


def _seed(reply: _Seeded) -> int | None:
    return reply.seed if reply.HasField("seed") else None


def _gradient_check(check: inference_pb2.GradientCheck) -> GradientCheck:
    return GradientCheck(
        name=check.name,
        wrt=check.wrt,
        passed=check.passed,
        value=check.value,
        threshold=check.threshold,
        remainders=tuple(TaylorRemainder(each.step, each.remainder) for each in check.remainders),
        skipped_reason=check.skipped_reason,
    )


def _position(name: str) -> tuple[bool, int, int, str]:
    """Return what sorts names as torch has them, and the input last; neither a message's map nor a file is in order."""
    _, _, rest = name.partition("layers.")
    index, _, parameter = rest.partition(".")
    place = _IN_A_LAYER.index(parameter) if parameter in _IN_A_LAYER else len(_IN_A_LAYER)
    return name == "input", int(index) if index.isdecimal() else 0, place, parameter


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
