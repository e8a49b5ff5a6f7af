"""Tensors of a request, read so that a refusal names the field."""

from __future__ import annotations

from collections.abc import Mapping

from gradserve import codec
from gradserve.v1 import tensor_pb2
from gradserve_server.errors import InvalidArgument
from gradserve_server.operations.arrays import FLOATING, Array


def read_tensor(tensor: tensor_pb2.Tensor, field: str) -> Array:
    """The array of a tensor; it shares the message's memory.

    Raises:
        InvalidArgument: If the wire format does not allow it; names the part of the field at fault.
    """
    try:
        return codec.decode(tensor)
    except codec.TensorError as error:
        raise InvalidArgument(str(error), field=f"{field}.{error.field}", reason="INVALID_TENSOR") from error


def read_required_tensor(tensor: tensor_pb2.Tensor, field: str, *, present: bool) -> Array:
    """As `read_tensor`, of a field that must be there.

    Raises:
        InvalidArgument: If it is not there or the wire format does not allow it.
    """
    if not present:
        raise InvalidArgument("required", field=field)
    return read_tensor(tensor, field)


def read_tensors(tensors: Mapping[str, tensor_pb2.Tensor], field: str) -> dict[str, Array]:
    """The arrays of a map of tensors, by name.

    Raises:
        InvalidArgument: If the wire format does not allow one of them; names its key.
    """
    return {name: read_tensor(tensor, f"{field}[{name}]") for name, tensor in tensors.items()}


def read_model_dtype(data_type: tensor_pb2.DataType.ValueType, field: str) -> str:
    """The name of a dtype that a model can have.

    Raises:
        InvalidArgument: If it is unknown or not floating.
    """
    try:
        name = codec.dtype_name(data_type)
    except codec.TensorError as error:
        raise InvalidArgument(str(error), field=field) from error
    if name not in FLOATING:
        raise InvalidArgument(f"a model is in one of {', '.join(FLOATING)}, got {name}", field=field)
    return name
