"""Requests to compute, read so that a refusal names the field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

import numpy as np

from gradserve.v1 import inference_pb2
from gradserve_server.errors import InvalidArgument
from gradserve_server.operations.arrays import Array
from gradserve_server.operations.calls import (
    CheckGradientsCall,
    ForwardCall,
    GradientCall,
    HvpCall,
    JacobianCall,
    JacobianMode,
    JvpCall,
    LossCall,
    PerSampleResult,
)
from gradserve_server.servicers.losses import read_loss
from gradserve_server.servicers.tensors import read_required_tensor, read_tensor, read_tensors

_Evaluated: TypeAlias = (
    inference_pb2.ForwardRequest
    | inference_pb2.GradientRequest
    | inference_pb2.JvpRequest
    | inference_pb2.HvpRequest
    | inference_pb2.JacobianRequest
)
"""The requests that say how the model is evaluated, all in the same fields."""

_Differentiated: TypeAlias = inference_pb2.GradientRequest | inference_pb2.HvpRequest
"""Those that also say what number to differentiate."""

_PER_SAMPLE_RESULTS: Final[Mapping[int, PerSampleResult | None]] = {
    inference_pb2.PER_SAMPLE_RESULT_UNSPECIFIED: None,
    inference_pb2.PER_SAMPLE_RESULT_FULL: PerSampleResult.FULL,
    inference_pb2.PER_SAMPLE_RESULT_NORMS: PerSampleResult.NORMS,
    inference_pb2.PER_SAMPLE_RESULT_CLIPPED_SUM: PerSampleResult.CLIPPED_SUM,
}
_JACOBIAN_MODES: Final[Mapping[int, JacobianMode | None]] = {
    inference_pb2.JACOBIAN_MODE_UNSPECIFIED: None,
    inference_pb2.JACOBIAN_MODE_REVERSE: JacobianMode.REVERSE,
    inference_pb2.JACOBIAN_MODE_FORWARD: JacobianMode.FORWARD,
}


def forward_call(request: inference_pb2.ForwardRequest) -> ForwardCall:
    """The call of a ForwardRequest.

    Raises:
        InvalidArgument: If a tensor is malformed, or missing where there must be one. So do the others here.
    """
    return ForwardCall(*_evaluation(request))


def gradient_call(request: inference_pb2.GradientRequest) -> GradientCall:
    """The call of a GradientRequest."""
    return GradientCall(
        *_evaluation(request),
        *_objective(request),
        wrt=tuple(request.wrt),
        per_sample=request.per_sample,
        return_output=request.return_output,
        is_grads_batched=request.is_grads_batched,
        per_sample_result=_per_sample_result(request.per_sample_result),
        max_norm=request.max_norm,
    )


def jvp_call(request: inference_pb2.JvpRequest) -> JvpCall:
    """The call of a JvpRequest."""
    return JvpCall(
        *_evaluation(request),
        tangents=read_tensors(request.tangents, "tangents"),
        is_tangents_batched=request.is_tangents_batched,
        return_output=request.return_output,
    )


def hvp_call(request: inference_pb2.HvpRequest) -> HvpCall:
    """The call of an HvpRequest."""
    return HvpCall(
        *_evaluation(request),
        *_objective(request),
        vectors=read_tensors(request.vectors, "vectors"),
        is_vectors_batched=request.is_vectors_batched,
        wrt=tuple(request.wrt),
        return_gradients=request.return_gradients,
    )


def jacobian_call(request: inference_pb2.JacobianRequest) -> JacobianCall:
    """The call of a JacobianRequest."""
    if request.mode not in _JACOBIAN_MODES:
        raise InvalidArgument(f"there is no {request.mode}", field="mode")
    return JacobianCall(
        *_evaluation(request),
        wrt=tuple(request.wrt),
        mode=_JACOBIAN_MODES[request.mode],
        chunk_size=request.chunk_size if request.HasField("chunk_size") else None,
        return_output=request.return_output,
    )


def check_gradients_call(request: inference_pb2.CheckGradientsRequest) -> CheckGradientsCall:
    """The call of a CheckGradientsRequest."""
    has_input = request.HasField("input")
    return CheckGradientsCall(
        input=read_tensor(request.input, "input") if has_input else np.empty(0),
        seed=request.seed if request.HasField("seed") else None,
        if_version=request.if_version if request.HasField("if_version") else None,
        has_input=has_input,
        loss=read_loss(request.loss) if request.HasField("loss") else None,
    )


def _per_sample_result(value: inference_pb2.PerSampleResult.ValueType) -> PerSampleResult | None:
    if value not in _PER_SAMPLE_RESULTS:
        raise InvalidArgument(f"there is no {value}", field="per_sample_result")
    return _PER_SAMPLE_RESULTS[value]


def _evaluation(request: _Evaluated) -> tuple[Array, bool, int | None, bool, int | None]:
    """What the requests have in common, in the order of ForwardCall's attributes."""
    return (
        read_required_tensor(request.input, "input", present=request.HasField("input")),
        request.training,
        request.seed if request.HasField("seed") else None,
        request.deterministic,
        request.if_version if request.HasField("if_version") else None,
    )


def _objective(request: _Differentiated) -> tuple[LossCall | None, Array | None]:
    """What is differentiated, in the order of ObjectiveCall's own attributes."""
    return (
        read_loss(request.loss) if request.HasField("loss") else None,
        read_tensor(request.grad_output, "grad_output") if request.HasField("grad_output") else None,
    )
