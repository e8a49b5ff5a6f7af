"""The options of Gradient that exclude or need each other."""

from __future__ import annotations

import math

from gradserve_server.engine.plans.signature import Signature
from gradserve_server.errors import InvalidArgument
from gradserve_server.operations.calls import GradientCall, PerSampleResult
from gradserve_server.selection import Selection


def check_options(signature: Signature, selection: Selection) -> None:
    """Refuse options that do not go together.

    Raises:
        InvalidArgument: If there are any.
    """
    if signature.is_grads_batched:
        if signature.per_sample:
            raise InvalidArgument("is_grads_batched does not go with per_sample", field="is_grads_batched")
        if signature.grad_output is None:
            raise InvalidArgument("is_grads_batched needs grad_output", field="is_grads_batched")
    if signature.per_sample_result is not None and not signature.per_sample:
        raise InvalidArgument("per_sample_result needs per_sample", field="per_sample_result")
    if signature.per_sample_result is PerSampleResult.CLIPPED_SUM and selection.input:
        message = "the gradients of the input are of one row each, and have no sum: leave the input out"
        raise InvalidArgument(message, field="wrt")


def check_max_norm(call: GradientCall) -> None:
    """Refuse a norm to clip to that is none, is missing, or is of no use.

    Raises:
        InvalidArgument: If it is.
    """
    if call.per_sample_result is not PerSampleResult.CLIPPED_SUM:
        if call.max_norm:
            raise InvalidArgument("max_norm is for PER_SAMPLE_RESULT_CLIPPED_SUM alone", field="max_norm")
    elif not 0 < call.max_norm < math.inf:
        raise InvalidArgument(f"must be positive and finite, got {call.max_norm}", field="max_norm")
