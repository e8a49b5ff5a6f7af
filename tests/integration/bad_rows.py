"""Every way to ask wrongly for several vectors, for gradients of rows, for Jacobians and for gradient checks."""

from __future__ import annotations

from grpc import StatusCode

from gradserve.v1 import inference_pb2
from tests.integration.bad_inference import BAD_TENSORS, FROZEN, MSE, NORM, SQUARE, WIDE, X, Y, gradient, loss
from tests.integration.bad_input import VICTIM, Row, tensor

CheckGradientsRequest = inference_pb2.CheckGradientsRequest
JacobianRequest = inference_pb2.JacobianRequest

_NORMS, _CLIPPED = inference_pb2.PER_SAMPLE_RESULT_NORMS, inference_pb2.PER_SAMPLE_RESULT_CLIPPED_SUM
_SUM = loss("sum")


def _jacobian(model: str = VICTIM, x: object = X, **fields: object) -> JacobianRequest:
    return JacobianRequest(model=model, input=x, **fields)


def _vector_rows() -> tuple[Row, ...]:
    path = "grad_output.shape"
    return (
        *(
            Row(f"several vectors of {shape}", gradient(grad_output=tensor(*shape), is_grads_batched=True), path)
            for shape in ((2, 3), (0, 2, 3), (4, 3, 2), (), (1, 1, 2, 3))
        ),
        Row(
            "integer vectors",
            gradient(grad_output=tensor(5, 2, 3, dtype="int64"), is_grads_batched=True),
            "grad_output.dtype",
        ),
        Row("is_grads_batched of a loss", gradient(loss=MSE, is_grads_batched=True), "is_grads_batched"),
        Row(
            "is_grads_batched per sample",
            gradient(grad_output=tensor(5, 2, 3), is_grads_batched=True, per_sample=True),
            "is_grads_batched",
        ),
        Row(
            "too large a reply for all vectors",
            gradient(SQUARE, tensor(1, 1000), grad_output=tensor(20, 1, 1000), is_grads_batched=True),
            "wrt",
            StatusCode.RESOURCE_EXHAUSTED,
        ),
        Row(
            "too many rows for all vectors",
            gradient(x=tensor(2**12, 4), grad_output=tensor(2**9, 2**12, 3), is_grads_batched=True, wrt=["*.bias"]),
            path,
            StatusCode.RESOURCE_EXHAUSTED,
        ),
    )


def _result_rows() -> tuple[Row, ...]:
    rows = {"loss": MSE, "per_sample": True}
    return (
        Row("norms of no rows' gradients", gradient(loss=MSE, per_sample_result=_NORMS), "per_sample_result"),
        Row("an unknown result", gradient(**rows, per_sample_result=99), "per_sample_result"),
        Row("norms to clip to", gradient(**rows, per_sample_result=_NORMS, max_norm=1.0), "max_norm"),
        Row("max_norm alone", gradient(loss=MSE, max_norm=1.0), "max_norm"),
        Row(
            "a clipped sum of the input's",
            gradient(**rows, per_sample_result=_CLIPPED, max_norm=1, wrt=["input"]),
            "wrt",
        ),
        *(
            Row(f"max_norm {norm}", gradient(**rows, per_sample_result=_CLIPPED, max_norm=norm), "max_norm")
            for norm in (0.0, -1.0, float("inf"), float("nan"))
        ),
        Row(
            "a clipped sum through BatchNorm1d in training",
            gradient(NORM, loss=_SUM, per_sample=True, per_sample_result=_CLIPPED, max_norm=1.0, training=True),
            "per_sample",
        ),
    )


def _jacobian_rows() -> tuple[Row, ...]:
    too_large = StatusCode.RESOURCE_EXHAUSTED
    frozen = StatusCode.FAILED_PRECONDITION
    return (
        *(Row(f"an input {title}", _jacobian(x=bad), f"input.{part}") for title, part, bad in BAD_TENSORS),
        Row("no input", JacobianRequest(model=VICTIM), "input"),
        Row("no such model", _jacobian("nobody"), "model", StatusCode.NOT_FOUND),
        Row("version 2", _jacobian(if_version=2), "if_version", frozen),
        Row("too few features", _jacobian(x=tensor(2, 3)), "input.shape"),
        Row("an input of int64", _jacobian(x=tensor(2, 4, dtype="int64")), "input.dtype"),
        Row("wrt nothing", _jacobian(wrt=["layers.9.weight"]), "wrt[0]"),
        Row("a frozen parameter by name", _jacobian(FROZEN, wrt=["layers.0.weight"]), "wrt[0]", frozen),
        Row("an unknown mode", _jacobian(mode=99), "mode"),
        *(Row(f"chunk_size {size}", _jacobian(chunk_size=size), "chunk_size") for size in (0, -1, -(2**31))),
        Row("BatchNorm1d in training", _jacobian(NORM, training=True), "training"),
        Row("too large a reply", _jacobian(WIDE, tensor(17_000, 1)), "input.shape", too_large),
        Row("too large a reply by parameters", _jacobian(SQUARE, tensor(1, 1000), wrt=["*"]), "wrt", too_large),
        Row("too many passes", _jacobian(x=tensor(2**19, 4), wrt=["*.bias"]), "input.shape", too_large),
        Row("too many rows one by one", _jacobian(x=tensor(1025, 4), deterministic=True), "input.shape", too_large),
    )


def _check_rows() -> tuple[Row, ...]:
    def check(model: str = VICTIM, **fields: object) -> CheckGradientsRequest:
        return CheckGradientsRequest(model=model, **fields)

    return (
        *(Row(f"an input {title}", check(input=bad), f"input.{part}") for title, part, bad in BAD_TENSORS),
        Row("no such model", check("nobody"), "model", StatusCode.NOT_FOUND),
        Row("version 2", check(if_version=2), "if_version", StatusCode.FAILED_PRECONDITION),
        Row("too few features", check(input=tensor(2, 3)), "input.shape"),
        Row("an input of int64", check(input=tensor(2, 4, dtype="int64")), "input.dtype"),
        Row("no rows", check(input=tensor(0, 4)), "input.shape"),
        Row("too many rows", check(input=tensor(65, 4)), "input.shape", StatusCode.RESOURCE_EXHAUSTED),
        Row("an unknown loss", check(input=X, loss=loss("mse", Y)), "loss.name"),
        Row("a target of other rows than the default's", check(loss=MSE), "loss.target"),
        Row("a loss that is not reduced", check(input=X, loss=loss("mse_loss", Y, "none")), "loss.reduction"),
    )


ROWS = (*_vector_rows(), *_result_rows(), *_jacobian_rows(), *_check_rows())
