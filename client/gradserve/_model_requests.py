"""From arguments to the messages of ModelService: pure functions, for whoever carries the calls."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import numpy as np
from google.protobuf import field_mask_pb2

from gradserve import codec
from gradserve._architecture import MLP, Architecture, Layer, LayerArgument, Sequential
from gradserve._refusals import invalid, optional_int64
from gradserve.v1 import model_pb2, tensor_pb2


class TorchDType(Protocol):
    """What tells a torch.dtype to a type checker."""

    @property
    def is_floating_point(self) -> bool:
        """Whether its values are real numbers."""


class TorchDevice(Protocol):
    """What tells a torch.device to a type checker."""

    @property
    def type(self) -> str:
        """The kind of device, such as "cuda"."""

    @property
    def index(self) -> int:
        """Which of its kind it is."""


DTypeLike: TypeAlias = str | np.dtype[Any] | TorchDType
DeviceLike: TypeAlias = str | TorchDevice


def create(
    name: str, architecture: Architecture, *, seed: int | None, dtype: DTypeLike, device: DeviceLike
) -> model_pb2.CreateModelRequest:
    """Return the request of CreateModel.

    Raises:
        InvalidArgumentError: There is no dtype of that name, or a number has more than 64 bits.
        TypeError: The architecture or an argument of a layer is of the wrong type.
    """
    return model_pb2.CreateModelRequest(
        name=name,
        architecture=_architecture(architecture),
        dtype=_data_type(dtype),
        device=str(device),
        seed=optional_int64("seed", seed),
    )


def move(
    name: str, *, device: DeviceLike | None, dtype: DTypeLike | None, if_version: int | None
) -> model_pb2.UpdateModelRequest:
    """Return the request of UpdateModel that changes the device, the dtype, or both.

    Raises:
        InvalidArgumentError: There is no dtype of that name.
    """
    request = model_pb2.UpdateModelRequest(name=name, if_version=optional_int64("if_version", if_version))
    if device is not None:
        request.update_mask.paths.append("device")
        request.device = str(device)
    if dtype is not None:
        request.update_mask.paths.append("dtype")
        request.dtype = _data_type(dtype)
    return request


def set_requires_grad(
    name: str, parameters: str, *, requires_grad: bool, if_version: int | None
) -> model_pb2.UpdateModelRequest:
    """Return the request of UpdateModel that freezes parameters or frees them."""
    return model_pb2.UpdateModelRequest(
        name=name,
        update_mask=field_mask_pb2.FieldMask(paths=["requires_grad"]),
        requires_grad=[model_pb2.RequiresGrad(parameters=parameters, requires_grad=requires_grad)],
        if_version=optional_int64("if_version", if_version),
    )


def delete(name: str, *, if_version: int | None) -> model_pb2.DeleteModelRequest:
    """Return the request of DeleteModel."""
    return model_pb2.DeleteModelRequest(name=name, if_version=optional_int64("if_version", if_version))


def _data_type(dtype: DTypeLike) -> tensor_pb2.DataType.ValueType:
    try:
        return codec.dtype_from_name(str(dtype).removeprefix("torch."))
    except codec.TensorError as error:
        raise invalid("dtype", str(error)) from error


def _architecture(architecture: Architecture) -> model_pb2.Architecture:
    try:
        if isinstance(architecture, MLP):
            return model_pb2.Architecture(mlp=_mlp(architecture))
        if isinstance(architecture, Sequential):
            return model_pb2.Architecture(sequential=model_pb2.Sequential(layers=map(_layer, architecture.layers)))
    except ValueError as error:
        raise invalid("architecture", str(error)) from error
    raise TypeError(f"architecture must be an MLP or a Sequential, got {type(architecture).__name__}")


def _mlp(mlp: MLP) -> model_pb2.MLP:
    return model_pb2.MLP(
        in_features=mlp.in_features,
        hidden_features=mlp.hidden_features,
        out_features=mlp.out_features,
        activation=mlp.activation,
    )


def _layer(layer: Layer) -> model_pb2.Layer:
    arguments = {name: _layer_argument(name, value) for name, value in layer.arguments.items()}
    return model_pb2.Layer(type=layer.type, arguments=arguments)


def _plain(value: Any) -> Any:  # noqa: ANN401 - what is no number passes through
    """Return a numpy number as Python's own."""
    return value.item() if isinstance(value, np.generic) else value


def _layer_argument(name: str, value: LayerArgument) -> model_pb2.LayerArgument:
    value = _plain(value)
    # A bool is an int to Python, so it goes first.
    if isinstance(value, bool):
        return model_pb2.LayerArgument(bool_value=value)
    if isinstance(value, int):
        return model_pb2.LayerArgument(int_value=value)
    if isinstance(value, float):
        return model_pb2.LayerArgument(double_value=value)
    if isinstance(value, str):
        return model_pb2.LayerArgument(string_value=value)
    if isinstance(value, list | tuple):
        return model_pb2.LayerArgument(int_list=model_pb2.IntList(values=value))
    raise TypeError(f"layer argument {name} must be a bool, int, float, str or list of ints, got {value!r}")
