"""From arguments to the messages of InferenceService: pure functions, for whoever carries the calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from gradserve import codec
from gradserve._arrays import Array, ArrayLike, to_numpy
from gradserve._refusals import int64, invalid, invalid_tensor, optional_int64
from gradserve.v1 import inference_pb2, tensor_pb2

LossKwargs: TypeAlias = Mapping[str, bool | int | float | ArrayLike]
LossValue: TypeAlias = bool | int | float | Array


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
        input=_tensor("input", x),
        training=run.training,
        seed=optional_int64("seed", run.seed),
        if_version=optional_int64("if_version", run.if_version),
        deterministic=run.deterministic,
    )


def gradient(  # noqa: PLR0913 - as many as the request has parts
    model: str,
    x: Array,
    objective: Objective,
    run: Run,
    *,
    wrt: str | Sequence[str],
    per_sample: bool,
    return_output: bool,
) -> inference_pb2.GradientRequest:
    """Return the request of Gradient."""
    grad_output = objective.grad_output
    return inference_pb2.GradientRequest(
        model=model,
        input=_tensor("input", x),
        training=run.training,
        seed=optional_int64("seed", run.seed),
        if_version=optional_int64("if_version", run.if_version),
        deterministic=run.deterministic,
        loss=_loss(objective),
        grad_output=None if grad_output is None else _tensor("grad_output", grad_output),
        wrt=[wrt] if isinstance(wrt, str) else wrt,
        per_sample=per_sample,
        return_output=return_output,
    )


def _loss(objective: Objective) -> inference_pb2.Loss | None:
    if objective.loss is None:
        return None
    return inference_pb2.Loss(
        name=objective.loss,
        target=None if objective.target is None else _tensor("loss.target", objective.target),
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
    return inference_pb2.LossArgument(tensor_value=_tensor(f"loss.arguments[{name}]", value))


def _tensor(field: str, value: Array) -> tensor_pb2.Tensor:
    try:
        return codec.encode(value)
    except codec.TensorError as error:
        raise invalid_tensor(field, error) from error
