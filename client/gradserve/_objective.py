"""A loss of a model as a function of its input alone, for optimizers such as scipy.optimize.minimize."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from gradserve._arrays import Array, ArrayLike
from gradserve._inference_requests import LossKwargs
from gradserve._options import UNSET, Timeout

if TYPE_CHECKING:
    from gradserve import Model

Vector: TypeAlias = npt.NDArray[np.float64]


class Objective:
    """What an input costs, its gradient, and its Hessian times a vector.

        scipy.optimize.minimize(objective, x0, jac=True, hessp=objective.hessp, method="trust-ncg")

    Inputs, gradients and products are vectors of float64. Value and gradient come in one call, and those of the last
    input are kept, so that asking for both costs one call. It is for one thread at a time.
    """

    def __init__(  # noqa: PLR0913 - as many as a loss has parts
        self,
        model: Model,
        loss: str,
        target: ArrayLike | None = None,
        *,
        loss_kwargs: LossKwargs | None = None,
        reduction: str | None = None,
        shape: Sequence[int] = (-1,),
        if_version: int | None = None,
        timeout: Timeout = UNSET,
    ) -> None:
        """Make a function of a loss; no call is made.

        Args:
            model: The handle of the model.
            loss: As in `Model.gradient`.
            target: As in `Model.gradient`.
            loss_kwargs: As in `Model.gradient`.
            reduction: "mean" or "sum". Default: "mean".
            shape: The input's, [..., in_features], into which each vector is brought. Default: a single row.
            if_version: The version that the model must be at in every call; None for any.
            timeout: Seconds for each call; default: the client's.
        """
        self._model: Final = model
        self._loss: Final = loss
        self._target: Final = target
        self._loss_kwargs: Final = loss_kwargs
        self._reduction: Final = reduction
        self._shape: Final = tuple(shape)
        self._if_version: Final = if_version
        self._timeout: Final = timeout
        self._last: tuple[Vector, float, Vector] | None = None

    def __call__(self, x: npt.ArrayLike) -> tuple[float, Vector]:
        """Return the loss and the gradient, as `minimize(objective, x0, jac=True)` takes them.

        Raises:
            Error: As in `fun`.
        """
        return self.fun(x), self.jac(x)

    def fun(self, x: npt.ArrayLike) -> float:
        """Return the loss.

        Raises:
            ValueError: The vector does not have the input's number of elements.
            Error: As `Model.gradient`.
        """
        return self._at(_vector(x))[1]

    def jac(self, x: npt.ArrayLike) -> Vector:
        """Return the gradient, of the vector's shape.

        Raises:
            Error: As in `fun`.
        """
        return self._at(_vector(x))[2].copy()

    def hessp(self, x: npt.ArrayLike, p: npt.ArrayLike) -> Vector:
        """Return the Hessian times a vector, of the vector's shape.

        Raises:
            Error: As in `fun`; UnimplementedError where a layer or the loss has no second derivative.
        """
        products = self._model.hvp(
            self._shaped(_vector(x)),
            self._target,
            self._shaped(_vector(p)),
            loss=self._loss,
            loss_kwargs=self._loss_kwargs,
            reduction=self._reduction,
            if_version=self._if_version,
            timeout=self._timeout,
        )
        return _vector(products.input)

    def _at(self, x: Vector) -> tuple[Vector, float, Vector]:
        """Return an input, its loss and its gradient."""
        if self._last is None or not np.array_equal(self._last[0], x):
            gradients = self._model.gradient(
                self._shaped(x),
                self._target,
                loss=self._loss,
                loss_kwargs=self._loss_kwargs,
                reduction=self._reduction,
                wrt="input",
                if_version=self._if_version,
                timeout=self._timeout,
            )
            # Optimizers write their next input where the last one was.
            self._last = x.copy(), float(gradients.loss), _vector(gradients.input)
        return self._last

    def _shaped(self, x: Vector) -> Array:
        return x.reshape(self._shape)


def _vector(values: npt.ArrayLike) -> Vector:
    return np.asarray(values, np.float64).reshape(-1)


Objective.__module__ = "gradserve"  # where users import it from
