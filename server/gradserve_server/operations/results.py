"""What a model answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gradserve_server.operations.arrays import Array

_FEW = 8192


# Not frozen, for the reason that calls are not.


@dataclass(slots=True, eq=False)
class ForwardResult:
    """The answer to a ForwardCall; `seed` is None where nothing was random.

    Whether it is finite may be known already, as all that was computed together is.
    """

    output: Array
    seed: int | None
    known_finite: bool = False

    @property
    def is_finite(self) -> bool:
        """Whether it holds neither a NaN nor an infinity."""
        return self.known_finite or is_finite(self.output)


@dataclass(slots=True, eq=False)
class GradientResult:
    """The answer to a GradientCall: gradients by parameter name, the input's under "input"; norms where asked for.

    Whether it is finite may be known already, as above.
    """

    loss: Array | None
    output: Array | None
    gradients: Mapping[str, Array]
    seed: int | None
    norms: Array | None = None
    known_finite: bool = False

    @property
    def is_finite(self) -> bool:
        """Whether it holds neither a NaN nor an infinity."""
        return self.known_finite or are_finite(self.loss, self.output, self.norms, *self.gradients.values())


@dataclass(slots=True, eq=False)
class JvpResult:
    """The answer to a JvpCall."""

    jvp: Array
    output: Array | None
    seed: int | None

    @property
    def is_finite(self) -> bool:
        """Whether it holds neither a NaN nor an infinity."""
        return are_finite(self.jvp, self.output)


@dataclass(slots=True, eq=False)
class HvpResult:
    """The answer to an HvpCall: products and gradients by parameter name, the input's under "input"."""

    loss: Array | None
    products: Mapping[str, Array]
    gradients: Mapping[str, Array]
    seed: int | None

    @property
    def is_finite(self) -> bool:
        """Whether it holds neither a NaN nor an infinity."""
        return are_finite(self.loss, *self.products.values(), *self.gradients.values())


@dataclass(slots=True, eq=False)
class JacobianResult:
    """The answer to a JacobianCall: Jacobians by parameter name, the input's under "input"."""

    jacobians: Mapping[str, Array]
    output: Array | None
    seed: int | None

    @property
    def is_finite(self) -> bool:
        """Whether it holds neither a NaN nor an infinity."""
        return are_finite(self.output, *self.jacobians.values())


@dataclass(frozen=True)
class TaylorRemainder:
    """What a first-order Taylor expansion leaves after a step."""

    step: float
    remainder: float


@dataclass(frozen=True)
class GradientCheck:
    """One check of derivatives, as on the wire."""

    name: str
    wrt: str
    passed: bool
    value: float
    threshold: float
    remainders: tuple[TaylorRemainder, ...] = ()
    skipped_reason: str = ""


@dataclass(slots=True, eq=False)
class CheckGradientsResult:
    """The answer to a CheckGradientsCall, and the seed that it drew from."""

    checks: tuple[GradientCheck, ...]
    seed: int

    @property
    def is_finite(self) -> bool:
        """Whether everything that was measured is finite."""
        return all(math.isfinite(check.value) for check in self.checks)


def are_finite(*arrays: Array | None) -> bool:
    """Whether none of those that are there holds a NaN or an infinity."""
    return all(is_finite(array) for array in arrays if array is not None)


def is_finite(array: Array) -> bool:
    """Whether an array holds neither a NaN nor an infinity."""
    # A sum of squares is finite only where all of them are, though it may overflow. Of many NumPy would sum on threads.
    if array.size <= _FEW and math.isfinite(np.vdot(array, array)):
        return True
    return bool(np.isfinite(array).all())


class Result(Protocol):
    """What any operation answers."""

    @property
    def is_finite(self) -> bool:
        """Whether it holds neither a NaN nor an infinity."""
        ...
