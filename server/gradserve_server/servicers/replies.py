"""Replies that hold tensors, as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from gradserve.v1 import inference_pb2
from gradserve_server.operations.results import (
    CheckGradientsResult,
    ForwardResult,
    GradientResult,
    HvpResult,
    JacobianResult,
    JvpResult,
)
from gradserve_server.servicers.encoding import REMEMBERED, Part, head, map_entry, tensor_field, varint
from gradserve_server.status import Failure

_OUTPUT: Final = inference_pb2.ForwardResponse.OUTPUT_FIELD_NUMBER
_LOSS: Final = inference_pb2.GradientResponse.LOSS_FIELD_NUMBER
_GRADIENT_OUTPUT: Final = inference_pb2.GradientResponse.OUTPUT_FIELD_NUMBER
_NORMS: Final = inference_pb2.GradientResponse.NORMS_FIELD_NUMBER
_GRADIENTS: Final = inference_pb2.GradientResponse.GRADIENTS_FIELD_NUMBER
_JACOBIANS: Final = inference_pb2.JacobianResponse.JACOBIANS_FIELD_NUMBER
_JACOBIAN_OUTPUT: Final = inference_pb2.JacobianResponse.OUTPUT_FIELD_NUMBER
_JVP: Final = inference_pb2.JvpResponse.JVP_FIELD_NUMBER
_JVP_OUTPUT: Final = inference_pb2.JvpResponse.OUTPUT_FIELD_NUMBER
_HVP_LOSS: Final = inference_pb2.HvpResponse.LOSS_FIELD_NUMBER
_HVP_PRODUCTS: Final = inference_pb2.HvpResponse.PRODUCTS_FIELD_NUMBER
_HVP_GRADIENTS: Final = inference_pb2.HvpResponse.GRADIENTS_FIELD_NUMBER
# The answers of both kinds of streams have the same fields.
_ID_TAG: Final = bytes([inference_pb2.ForwardStreamResponse.ID_FIELD_NUMBER << 3])
_RESPONSE: Final = inference_pb2.ForwardStreamResponse.RESPONSE_FIELD_NUMBER

_UINT64: Final = 2**64


def forward_reply(result: ForwardResult, version: int) -> bytes:
    """The bytes of a ForwardResponse."""
    return b"".join(_forward_parts(result, version))


def gradient_reply(result: GradientResult, version: int) -> bytes:
    """The bytes of a GradientResponse."""
    return b"".join(_gradient_parts(result, version))


def jvp_reply(result: JvpResult, version: int) -> bytes:
    """The bytes of a JvpResponse."""
    parts: list[Part] = [*tensor_field(_JVP, result.jvp)]
    if result.output is not None:
        parts += tensor_field(_JVP_OUTPUT, result.output)
    parts.append(inference_pb2.JvpResponse(version=version, seed=result.seed).SerializeToString())
    return b"".join(parts)


def hvp_reply(result: HvpResult, version: int) -> bytes:
    """The bytes of an HvpResponse."""
    parts: list[Part] = []
    if result.loss is not None:
        parts += tensor_field(_HVP_LOSS, result.loss)
    for field, tensors in ((_HVP_PRODUCTS, result.products), (_HVP_GRADIENTS, result.gradients)):
        for name, tensor in tensors.items():
            parts += map_entry(field, name, tensor)
    parts.append(inference_pb2.HvpResponse(version=version, seed=result.seed).SerializeToString())
    return b"".join(parts)


def jacobian_reply(result: JacobianResult, version: int) -> bytes:
    """The bytes of a JacobianResponse."""
    parts: list[Part] = []
    for name, jacobian in result.jacobians.items():
        parts += map_entry(_JACOBIANS, name, jacobian)
    if result.output is not None:
        parts += tensor_field(_JACOBIAN_OUTPUT, result.output)
    parts.append(inference_pb2.JacobianResponse(version=version, seed=result.seed).SerializeToString())
    return b"".join(parts)


def check_gradients_reply(result: CheckGradientsResult, version: int) -> bytes:
    """The bytes of a CheckGradientsResponse."""
    checks = [
        inference_pb2.GradientCheck(
            name=check.name,
            wrt=check.wrt,
            passed=check.passed,
            value=check.value,
            threshold=check.threshold,
            remainders=[
                inference_pb2.TaylorRemainder(step=own.step, remainder=own.remainder) for own in check.remainders
            ],
            skipped_reason=check.skipped_reason,
        )
        for check in result.checks
    ]
    passed = all(check.passed for check in result.checks)
    response = inference_pb2.CheckGradientsResponse(passed=passed, checks=checks, version=version, seed=result.seed)
    return response.SerializeToString()


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
    return *tensor_field(_OUTPUT, result.output), _forward_end(version, result.seed)


def _gradient_parts(result: GradientResult, version: int) -> Sequence[Part]:
    parts: list[Part] = []
    if result.loss is not None:
        parts += tensor_field(_LOSS, result.loss)
    if result.output is not None:
        parts += tensor_field(_GRADIENT_OUTPUT, result.output)
    for name, gradient in result.gradients.items():
        parts += map_entry(_GRADIENTS, name, gradient)
    if result.norms is not None:
        parts += tensor_field(_NORMS, result.norms)
    parts.append(_gradient_end(version, result.seed))
    return parts


@lru_cache(REMEMBERED)
def _forward_end(version: int, seed: int | None) -> bytes:
    return inference_pb2.ForwardResponse(version=version, seed=seed).SerializeToString()


@lru_cache(REMEMBERED)
def _gradient_end(version: int, seed: int | None) -> bytes:
    return inference_pb2.GradientResponse(version=version, seed=seed).SerializeToString()
