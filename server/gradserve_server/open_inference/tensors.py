"""Tensors of a request, whether as raw bytes or element by element."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import ml_dtypes
import numpy as np

from gradserve import codec
from gradserve_server.errors import InvalidArgument, Unimplemented
from gradserve_server.open_inference.grpc_service_pb2 import ModelInferRequest
from gradserve_server.open_inference.parameters import check_count
from gradserve_server.operations.arrays import Array

_DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("<u1"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
_CONTENTS: Final = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}
"""The field of a tensor's contents by its datatype; the others come as raw bytes alone."""

DATATYPES: Final = {dtype.name: datatype for datatype, dtype in _DTYPES.items()}
"""The datatype of each dtype, by NumPy's name."""

_LONGEST_NAME: Final = 64
"""Of what was sent, in a refusal."""

_MOST_ELEMENTS: Final = 2**20
"""Element by element, as each of them takes the event loop's time."""

SHARED_MEMORY: Final = "shared_memory_"
"""What the parameters begin with of tensors that are not in the message."""


def read_inputs(request: ModelInferRequest, known: Sequence[str]) -> dict[str, Array]:
    """The inputs of a request by name; they share the message's memory where they came as raw bytes.

    Raises:
        InvalidArgument: If one is not known, comes twice, or is not whole.
        Unimplemented: If one is in shared memory.
    """
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        message = f"has {len(raw)} entries for {len(request.inputs)} inputs"
        raise InvalidArgument(message, field="raw_input_contents", reason="INVALID_TENSOR")
    found: dict[str, Array] = {}
    for index, tensor in enumerate(request.inputs):
        name = tensor.name
        if name not in known:
            message = f"there is no input {name[:_LONGEST_NAME]!r}: one of {', '.join(known)}"
            raise InvalidArgument(message, field=f"inputs[{index}].name")
        if name in found:
            raise InvalidArgument(f"{name} is there already", field=f"inputs[{index}].name")
        found[name] = _read(tensor, index, raw[index] if raw else None)
    return found


def _read(tensor: ModelInferRequest.InferInputTensor, index: int, raw: bytes | None) -> Array:
    path = f"inputs[{index}]"
    if tensor.parameters:
        check_count(tensor.parameters, f"{path}.parameters")
        if any(name.startswith(SHARED_MEMORY) for name in tensor.parameters):
            message = "there is no shared memory here"
            raise Unimplemented(message, field=f"{path}.parameters", reason="NO_SUCH_EXTENSION")
    dtype = _DTYPES.get(tensor.datatype)
    if dtype is None:
        message = f"{tensor.datatype[:_LONGEST_NAME]!r} is not served: one of {', '.join(_DTYPES)}"
        raise InvalidArgument(message, field=f"{path}.datatype", reason="INVALID_TENSOR")
    if raw is not None and tensor.HasField("contents"):
        message = "must not be there together with raw_input_contents"
        raise InvalidArgument(message, field=f"{path}.contents", reason="INVALID_TENSOR")
    data = _contents(tensor, dtype, path) if raw is None else raw
    try:
        return codec.decode_elements(dtype, tensor.shape, data)
    except codec.TensorError as error:
        elements = f"{path}.contents" if raw is None else f"raw_input_contents[{index}]"
        field = elements if error.field == "data" else f"{path}.{error.field}"
        raise InvalidArgument(str(error), field=field, reason="INVALID_TENSOR") from error


def _contents(tensor: ModelInferRequest.InferInputTensor, dtype: np.dtype[Any], path: str) -> bytes:
    """The elements that came one by one, as raw bytes."""
    field = f"{path}.contents"
    if (wanted := _CONTENTS.get(tensor.datatype)) is None:
        message = f"{tensor.datatype} comes as raw_input_contents alone"
        raise InvalidArgument(message, field=field, reason="INVALID_TENSOR")
    for descriptor, _ in tensor.contents.ListFields():
        if descriptor.name != wanted:
            message = f"{tensor.datatype} is in {wanted}, not in {descriptor.name}"
            raise InvalidArgument(message, field=field, reason="INVALID_TENSOR")
    contents = getattr(tensor.contents, wanted)
    if len(contents) > _MOST_ELEMENTS:
        message = f"has {len(contents)} elements, at most {_MOST_ELEMENTS}: raw_input_contents takes more"
        raise InvalidArgument(message, field=field, reason="TOO_MANY_ELEMENTS")
    sent = np.array(contents)
    elements = sent.astype(dtype)
    if dtype.kind in "iu" and not np.array_equal(sent, elements):
        raise InvalidArgument(f"holds what {tensor.datatype} cannot", field=field, reason="INVALID_TENSOR")
    return elements.tobytes()
