"""What of a Gradient does not depend on the values of its tensors: equal signatures are checked once."""

from __future__ import annotations

from typing import NamedTuple

from gradserve_server.engine.losses.signature import LossSignature, TensorType, loss_signature
from gradserve_server.operations.calls import GradientCall, PerSampleResult


class Signature(NamedTuple):
    """Of a whole request."""

    input: TensorType
    training: bool
    deterministic: bool
    wrt: tuple[str, ...]
    per_sample: bool
    per_sample_result: PerSampleResult | None
    is_grads_batched: bool
    return_output: bool
    loss: LossSignature | None
    grad_output: TensorType | None


def signature_of(call: GradientCall) -> Signature:
    """The signature of a request."""
    return Signature(
        TensorType(call.input.dtype, call.input.shape),
        call.training,
        call.deterministic,
        call.wrt,
        call.per_sample,
        call.per_sample_result,
        call.is_grads_batched,
        call.return_output,
        loss_signature(call.loss),
        TensorType.of(call.grad_output),
    )
