"""A loss of a model as a function of its input alone, for optimizers such as scipy.optimize.minimize."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from gradserve._arrays import Array
from gradserve._derivative_results import Gradients, HessianVectorProducts

Vector: TypeAlias = npt.NDArray[np.float64]


@dataclass(eq=False, repr=False)
class Objective:
    """What an input costs, its gradient, and its Hessian times a vector; made by `Model.objective`.

        scipy.optimize.minimize(objective.fun, x0, jac=objective.jac, hessp=objective.hessp, method="trust-ncg")

    Inputs, gradients and products are vectors of float64. Value and gradient come in one call, and those of the last
    input are kept, so that asking for both costs one call. It is for one thread at a time.
    """

    _shape: tuple[int, ...]
    _gradient: Callable[[Array], Gradients[Array]]
    _hvp: Callable[[Array, Array], HessianVectorProducts[Array]]
    _last: tuple[Vector, float, Vector] | None = field(default=None, init=False)

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
        return _vector(self._hvp(self._shaped(_vector(x)), self._shaped(_vector(p))).input)

    def _at(self, x: Vector) -> tuple[Vector, float, Vector]:
        """Return an input, its loss and its gradient."""
        if self._last is None or not np.array_equal(self._last[0], x):
            gradients = self._gradient(self._shaped(x))
            # Optimizers write their next input where the last one was.
            self._last = x.copy(), float(gradients.loss), _vector(gradients.input)
        return self._last

    def _shaped(self, x: Vector) -> Array:
        return x.reshape(self._shape)


def _vector(values: npt.ArrayLike) -> Vector:
    return np.asarray(values, np.float64).reshape(-1)


Objective.__module__ = "gradserve"  # where users import it from
