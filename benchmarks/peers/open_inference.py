"""The messages of the Open Inference Protocol that a call of one tensor needs: its fields, numbered as it numbers them.

They live in a pool of their own: the protocol's full code, where a program has it too, would clash with them.
"""

from __future__ import annotations

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message
from numpy.typing import NDArray

METHOD = "/inference.GRPCInferenceService/ModelInfer"
"""The protocol's call."""

_Field = descriptor_pb2.FieldDescriptorProto
_TENSOR = (("name", 1, "string", False), ("datatype", 2, "string", False), ("shape", 3, "int64", True))
_MESSAGES = {
    "Contents": (("fp32_contents", 6, "float", True),),
    "InputTensor": _TENSOR,
    "OutputTensor": (*_TENSOR, ("contents", 5, "Contents", False)),
    "Request": (
        ("model_name", 1, "string", False),
        ("inputs", 5, "InputTensor", True),
        ("raw_input_contents", 7, "bytes", True),
    ),
    "Response": (("outputs", 5, "OutputTensor", True), ("raw_output_contents", 6, "bytes", True)),
}
_SCALARS = {
    "string": _Field.TYPE_STRING,
    "int64": _Field.TYPE_INT64,
    "float": _Field.TYPE_FLOAT,
    "bytes": _Field.TYPE_BYTES,
}


def request(model: str, x: NDArray[np.float32], name: str = "x") -> bytes:
    """A call with one tensor, which the model calls by a name, as raw bytes."""
    message = _TYPES["Request"](model_name=model, raw_input_contents=[x.tobytes()])
    message.inputs.add(name=name, datatype="FP32", shape=x.shape)  # type: ignore[attr-defined]
    return message.SerializeToString()


def output(reply: bytes) -> NDArray[np.float32]:
    """The first tensor of a reply, whether as raw bytes or number by number."""
    message = _TYPES["Response"].FromString(reply)
    (tensor,) = message.outputs  # type: ignore[attr-defined]
    raw = list(message.raw_output_contents)  # type: ignore[attr-defined]
    numbers = np.frombuffer(raw[0], np.float32) if raw else np.array(tensor.contents.fp32_contents, np.float32)
    return numbers.reshape(list(tensor.shape))


def _types() -> dict[str, type[Message]]:
    file = descriptor_pb2.FileDescriptorProto(name="open_inference.proto", package="benchmark", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeated in fields:
            label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            scalar = _SCALARS.get(kind)
            added = message.field.add(name=field, number=number, label=label, type=scalar or _Field.TYPE_MESSAGE)
            if scalar is None:
                added.type_name = f".benchmark.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"benchmark.{name}")) for name in _MESSAGES
    }


_TYPES = _types()
