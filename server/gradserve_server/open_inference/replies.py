"""Replies of ModelInfer as bytes, as `servicers.replies` makes those of gradserve.v1."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import numpy as np

from gradserve_server.open_inference.grpc_service_pb2 import (
    InferParameter,
    ModelInferRequest,
    ModelInferResponse,
    ModelStreamInferResponse,
)
from gradserve_server.open_inference.tensors import DATATYPES
from gradserve_server.operations.results import ForwardResult, GradientResult
from gradserve_server.selection import INPUT
from gradserve_server.servicers.encoding import REMEMBERED, Part, elements, head

_ID: Final = ModelInferResponse.ID_FIELD_NUMBER
_RAW: Final = ModelInferResponse.RAW_OUTPUT_CONTENTS_FIELD_NUMBER
_RESPONSE: Final = ModelStreamInferResponse.INFER_RESPONSE_FIELD_NUMBER
_FINAL: Final = ModelInferResponse(
    parameters={"triton_final_response": InferParameter(bool_param=True)}
).SerializeToString()

_Head = tuple[str, np.dtype[Any], tuple[int, ...]]
"""An output's name, dtype and shape."""


def forward_reply(request: ModelInferRequest, result: ForwardResult, version: int) -> bytes:
    """The bytes of a ModelInferResponse of NAME."""
    return b"".join(_forward_parts(request, result, version))


def gradient_reply(request: ModelInferRequest, result: GradientResult, version: int) -> bytes:
    """The bytes of a ModelInferResponse of NAME.gradient."""
    return b"".join(_gradient_parts(request, result, version))


def forward_answer(request: ModelInferRequest, result: ForwardResult, version: int) -> bytes:
    """The bytes of a ModelStreamInferResponse of NAME."""
    return _answer(_FINAL, *_forward_parts(request, result, version))


def gradient_answer(request: ModelInferRequest, result: GradientResult, version: int) -> bytes:
    """The bytes of a ModelStreamInferResponse of NAME.gradient."""
    return _answer(_FINAL, *_gradient_parts(request, result, version))


def failed_answer(request_id: str, message: str) -> bytes:
    """The bytes of a ModelStreamInferResponse of a request that failed."""
    known = ModelInferResponse(id=request_id)
    return ModelStreamInferResponse(error_message=message, infer_response=known).SerializeToString()


def _answer(*parts: Part) -> bytes:
    return b"".join((head(_RESPONSE, sum(map(len, parts))), *parts))


def _forward_parts(request: ModelInferRequest, result: ForwardResult, version: int) -> tuple[Part, ...]:
    output = result.output
    start = _forward_head(request.model_name, version, output.dtype, output.shape)
    return (start, elements(output), *_id(request.id))


def _gradient_parts(request: ModelInferRequest, result: GradientResult, version: int) -> Iterator[Part]:
    known = {"loss": result.loss, "output": result.output, "input_gradient": result.gradients[INPUT]}
    outputs = {name: array for name, array in known.items() if array is not None}
    chosen = [(name, outputs[name]) for name in [output.name for output in request.outputs] or outputs]
    yield _described(request.model_name, version, tuple((name, array.dtype, array.shape) for name, array in chosen))
    for _, array in chosen:
        yield head(_RAW, array.nbytes)
        yield elements(array)
    yield from _id(request.id)


def _id(text: str) -> tuple[bytes, ...]:
    if not text:
        return ()
    encoded = text.encode()
    return head(_ID, len(encoded)), encoded


@lru_cache(REMEMBERED)
def _forward_head(model: str, version: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """All of a reply of NAME that comes before the elements of its output."""
    size = dtype.itemsize * math.prod(shape)
    return _described(model, version, (("output", dtype, shape),)) + head(_RAW, size)


@lru_cache(REMEMBERED)
def _described(model: str, version: int, outputs: tuple[_Head, ...]) -> bytes:
    """All of a reply but its id and the elements of its outputs."""
    tensors = [
        ModelInferResponse.InferOutputTensor(name=name, datatype=DATATYPES[dtype.name], shape=shape)
        for name, dtype, shape in outputs
    ]
    return ModelInferResponse(model_name=model, model_version=str(version), outputs=tensors).SerializeToString()
