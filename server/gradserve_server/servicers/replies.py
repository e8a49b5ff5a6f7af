"""Replies that hold tensors, as bytes: a tensor's memory is copied once, into the message that is sent.

A message object would copy it three times: into bytes, into the message, and out of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np

from gradserve import codec
from gradserve.v1 import inference_pb2, tensor_pb2
from gradserve_server.operations import Array, ForwardResult, GradientResult
from gradserve_server.servicers.encoding import Part, elements, head, varint
from gradserve_server.status import Failure

_OUTPUT: Final = inference_pb2.ForwardResponse.OUTPUT_FIELD_NUMBER
_LOSS: Final = inference_pb2.GradientResponse.LOSS_FIELD_NUMBER
_GRADIENT_OUTPUT: Final = inference_pb2.GradientResponse.OUTPUT_FIELD_NUMBER
_GRADIENTS: Final = inference_pb2.GradientResponse.GRADIENTS_FIELD_NUMBER
_MAP_KEY, _MAP_VALUE = 1, 2
# The answers of both kinds of streams have the same fields.
_ID_TAG: Final = bytes([inference_pb2.ForwardStreamResponse.ID_FIELD_NUMBER << 3])
_RESPONSE: Final = inference_pb2.ForwardStreamResponse.RESPONSE_FIELD_NUMBER

_UINT64: Final = 2**64
_REMEMBERED: Final = 1024


def forward_reply(result: ForwardResult, version: int) -> bytes:
    """The bytes of a ForwardResponse."""
    return b"".join(_forward_parts(result, version))


def gradient_reply(result: GradientResult, version: int) -> bytes:
    """The bytes of a GradientResponse."""
    return b"".join(_gradient_parts(result, version))


def forward_answer(request_id: int, result: ForwardResult, version: int) -> bytes:
    """The bytes of a ForwardStreamResponse."""
    return _answer(request_id, _forward_parts(result, version))


def gradient_answer(request_id: int, result: GradientResult, version: int) -> bytes:
    """The bytes of a GradientStreamResponse."""
    return _answer(request_id, _gradient_parts(result, version))


def failed_answer(request_id: int, failure: Failure) -> bytes:
    """The bytes of a ForwardStreamResponse or a GradientStreamResponse of a request that failed."""
    error = inference_pb2.CallError(
        code=failure.code.value[0],
        message=failure.details,
        details=failure.status,
        retry_pushback_ms=failure.pushback,
    )
    return inference_pb2.ForwardStreamResponse(id=request_id, error=error).SerializeToString()


def _answer(request_id: int, parts: Sequence[Part]) -> bytes:
    return b"".join((_ID_TAG, varint(request_id % _UINT64), head(_RESPONSE, sum(map(len, parts))), *parts))


def _forward_parts(result: ForwardResult, version: int) -> Sequence[Part]:
    return *_tensor(_OUTPUT, result.output), _forward_end(version, result.seed)


def _gradient_parts(result: GradientResult, version: int) -> Sequence[Part]:
    parts: list[Part] = []
    if result.loss is not None:
        parts += _tensor(_LOSS, result.loss)
    if result.output is not None:
        parts += _tensor(_GRADIENT_OUTPUT, result.output)
    for name, gradient in result.gradients.items():
        parts += _map_entry(_GRADIENTS, name, gradient)
    parts.append(_gradient_end(version, result.seed))
    return parts


@lru_cache(_REMEMBERED)
def _forward_end(version: int, seed: int | None) -> bytes:
    return inference_pb2.ForwardResponse(version=version, seed=seed).SerializeToString()


@lru_cache(_REMEMBERED)
def _gradient_end(version: int, seed: int | None) -> bytes:
    return inference_pb2.GradientResponse(version=version, seed=seed).SerializeToString()


def _map_entry(field: int, name: str, array: Array) -> tuple[Part, ...]:
    key = name.encode()
    entry = (head(_MAP_KEY, len(key)) + key, *_tensor(_MAP_VALUE, array))
    return (head(field, sum(map(len, entry))), *entry)


def _tensor(field: int, array: Array) -> tuple[Part, Part]:
    return _tensor_head(field, array.dtype, array.shape), elements(array)


@lru_cache(_REMEMBERED)
def _tensor_head(field: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """All of a Tensor field that comes before its data."""
    size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    before = tensor_pb2.Tensor(dtype=codec.dtype_from_name(dtype.name), shape=shape).SerializeToString()
    before += head(tensor_pb2.Tensor.DATA_FIELD_NUMBER, size)
    return head(field, len(before) + size) + before
