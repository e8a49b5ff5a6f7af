"""From arguments to the messages of InferenceService: pure functions, for whoever carries the calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from gradserve import codec
from gradserve._arrays import Array, ArrayLike, to_numpy
from gradserve._refusals import int64, invalid, invalid_tensor, optional_int64
from gradserve.v1 import inference_pb2, tensor_pb2

LossKwargs: TypeAlias = Mapping[str, bool | int | float | ArrayLike]
LossValue: TypeAlias = bool | int | float | Array
PerSampleResult: TypeAlias = Literal["full", "norms", "clipped_sum"]

_PER_SAMPLE_RESULTS: Final = {
    None: inference_pb2.PER_SAMPLE_RESULT_UNSPECIFIED,
    "full": inference_pb2.PER_SAMPLE_RESULT_FULL,
    "norms": inference_pb2.PER_SAMPLE_RESULT_NORMS,
    "clipped_sum": inference_pb2.PER_SAMPLE_RESULT_CLIPPED_SUM,
}


@dataclass(frozen=True)
class Run:
    """How a model is to compute.

    Attributes:
        training: Whether layers such as Dropout behave as after `model.train()`.
        seed: What random layers draw from in training; None to let the server draw one.
        if_version: The version that the model must be at; None for any.
        deterministic: Whether to be bit-equal to torch in process.
    """

    training: bool
    seed: int | None
    if_version: int | None
    deterministic: bool


@dataclass(frozen=True)
class Objective:
    """What is differentiated: a loss, or an output with the vector of a vector-Jacobian product.

    Attributes:
        loss: The name of the loss; None for none.
        target: What the output is compared with.
        reduction: How the loss is reduced; None for the default.
        arguments: The loss's further arguments.
        grad_output: The vector.
    """

    loss: str | None
    target: Array | None
    reduction: str | None
    arguments: Mapping[str, LossValue]
    grad_output: Array | None

    @property
    def arrays(self) -> tuple[Array, ...]:
        """Every array in it."""
        values = (self.target, self.grad_output, *self.arguments.values())
        return tuple(value for value in values if isinstance(value, np.ndarray))


@dataclass(frozen=True)
class GradientOptions:
    """Which gradients are computed, and what of them is returned.

    Attributes:
        wrt: Globs over the parameters' names, and the word "input"; empty for every parameter that requires grad.
        per_sample: Whether each row has gradients of its own.
        per_sample_result: What becomes of those; None for the default.
        max_norm: To what each row's are clipped; None for not at all.
        is_grads_batched: Whether there are several vectors to multiply by.
        return_output: Whether to return the output too.
    """

    wrt: str | Sequence[str] = ()
    per_sample: bool = False
    per_sample_result: PerSampleResult | None = None
    max_norm: float | None = None
    is_grads_batched: bool = False
    return_output: bool = False


def array(field: str, value: ArrayLike) -> Array:
    """Return an argument as a numpy array.

    Raises:
        InvalidArgumentError: It is not one that the wire has a form for.
    """
    try:
        return to_numpy(value)
    except codec.TensorError as error:
        raise invalid_tensor(field, error) from error


def objective_of(
    target: ArrayLike | None,
    loss: str | None,
    loss_kwargs: LossKwargs | None,
    reduction: str | None,
    grad_output: ArrayLike | None,
) -> Objective:
    """Return what is to be differentiated.

    Raises:
        InvalidArgumentError: Something is said about a loss, but no loss is named.
    """
    if loss is None and not (target is None and loss_kwargs is None and reduction is None):
        message = "target, loss_kwargs and reduction belong to a loss: name one with loss="
        raise invalid("loss", message)
    return Objective(
        loss=loss,
        target=None if target is None else array("loss.target", target),
        reduction=reduction,
        arguments={name: _loss_value(name, value) for name, value in (loss_kwargs or {}).items()},
        grad_output=None if grad_output is None else array("grad_output", grad_output),
    )


def forward(model: str, x: Array, run: Run) -> inference_pb2.ForwardRequest:
    """Return the request of Forward."""
    return inference_pb2.ForwardRequest(
        model=model,
        input=tensor("input", x),
        training=run.training,
        seed=optional_int64("seed", run.seed),
        if_version=optional_int64("if_version", run.if_version),
        deterministic=run.deterministic,
    )


def gradient(
    model: str, x: Array, objective: Objective, run: Run, options: GradientOptions
) -> inference_pb2.GradientRequest:
    """Return the request of Gradient.

    Raises:
        InvalidArgumentError: `per_sample_result` is none.
    """
    if options.per_sample_result not in _PER_SAMPLE_RESULTS:
        expected = ", ".join(filter(None, _PER_SAMPLE_RESULTS))
        raise invalid("per_sample_result", f"must be one of {expected}; got {options.per_sample_result!r}")
    grad_output, wrt = objective.grad_output, options.wrt
    return inference_pb2.GradientRequest(
        model=model,
        input=tensor("input", x),
        training=run.training,
        seed=optional_int64("seed", run.seed),
        if_version=optional_int64("if_version", run.if_version),
        deterministic=run.deterministic,
        loss=loss(objective),
        grad_output=None if grad_output is None else tensor("grad_output", grad_output),
        wrt=[wrt] if isinstance(wrt, str) else wrt,
        per_sample=options.per_sample,
        return_output=options.return_output,
        is_grads_batched=options.is_grads_batched,
        per_sample_result=_PER_SAMPLE_RESULTS[options.per_sample_result],
        max_norm=options.max_norm or 0.0,
    )


def loss(objective: Objective) -> inference_pb2.Loss | None:
    """Return the loss; None without one."""
    if objective.loss is None:
        return None
    return inference_pb2.Loss(
        name=objective.loss,
        target=None if objective.target is None else tensor("loss.target", objective.target),
        reduction=objective.reduction or "",
        arguments={name: _loss_argument(name, value) for name, value in objective.arguments.items()},
    )


def _loss_value(name: str, value: ArrayLike) -> LossValue:
    """Return a number as it is, and all else as an array."""
    if isinstance(value, np.generic):
        value = value.item()
    return value if isinstance(value, bool | int | float) else array(f"loss.arguments[{name}]", value)


def _loss_argument(name: str, value: LossValue) -> inference_pb2.LossArgument:
    # A bool is an int to Python, so it goes first.
    if isinstance(value, bool):
        return inference_pb2.LossArgument(bool_value=value)
    if isinstance(value, int):
        return inference_pb2.LossArgument(int_value=int64(f"loss.arguments[{name}]", value))
    if isinstance(value, float):
        return inference_pb2.LossArgument(double_value=value)
    return inference_pb2.LossArgument(tensor_value=tensor(f"loss.arguments[{name}]", value))


def tensor(field: str, value: Array) -> tensor_pb2.Tensor:
    """Return an array as it is sent.

    Raises:
        InvalidArgumentError: The wire has no form for it.
    """
    try:
        return codec.encode(value)
    except codec.TensorError as error:
        raise invalid_tensor(field, error) from error
