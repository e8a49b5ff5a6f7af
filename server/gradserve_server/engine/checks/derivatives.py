"""The checks that a gradient check is made of, each along random directions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median_low
from typing import NamedTuple, TypeAlias

import numpy as np

from gradserve_server.engine.checks.probe import Probe, Vectors
from gradserve_server.engine.checks.taylor import NOISE_STEPS, STEPS, difference_error, rate, rounding
from gradserve_server.engine.network.shapes import Shape
from gradserve_server.errors import Unimplemented
from gradserve_server.operations.arrays import Array
from gradserve_server.operations.results import GradientCheck, TaylorRemainder

Draw: TypeAlias = Callable[[Shape], Array]
"""Gives normally distributed numbers."""

# Of some directions one may cross a kink next to the point; not of most.
_DIRECTIONS = 7

_LEAST_RATE = 1.5
_LARGEST_DIFFERENCE = 1e-3
_LARGEST_ASYMMETRY = 1e-6

_DIFFERENCE_STEP = 1e-6

# Of a product of two vectors with a matrix whose elements are about 1.
_ROUNDING = 1e-12


class _Walk(NamedTuple):
    """What was met along one direction.

    Attributes:
        slope: What the gradient says.
        remainders: Those of the Taylor expansion after each of STEPS.
        difference: The central difference.
        rounding: What is lost in roundings.
    """

    slope: float
    remainders: tuple[float, ...]
    difference: float
    rounding: float


def differences(probe: Probe, wrt: str, names: Sequence[str], draw: Draw) -> list[GradientCheck]:
    """The checks "taylor" and "finite_differences": the median of several directions."""
    gradients = probe.gradients(names)
    walks = [_walk(probe, gradients, random_direction(probe, names, draw)) for _ in range(_DIRECTIONS)]
    slope = math.sqrt(sum(walk.slope**2 for walk in walks) / len(walks))
    rates = [rate(STEPS, walk.remainders, rounding=walk.rounding, slope=slope) for walk in walks]
    errors = [
        difference_error(walk.difference, walk.slope, step=_DIFFERENCE_STEP, rounding=walk.rounding) for walk in walks
    ]
    middle = _median(rates)
    shown = walks[rates.index(middle)] if middle in rates else walks[0]
    remainders = tuple(map(TaylorRemainder, STEPS, shown.remainders))
    error = _median(errors)
    return [
        GradientCheck("taylor", wrt, middle >= _LEAST_RATE, middle, _LEAST_RATE, remainders),
        GradientCheck("finite_differences", wrt, error <= _LARGEST_DIFFERENCE, error, _LARGEST_DIFFERENCE),
    ]


def adjoint(probe: Probe, wrt: str, names: Sequence[str], draw: Draw) -> GradientCheck:
    """The check "adjoint": u . Jvp(v) = Vjp(u) . v."""
    tangents = random_direction(probe, names, draw)
    try:
        pushed = probe.jvp(tangents)
    except Unimplemented as refusal:
        return _skipped("adjoint", wrt, refusal)
    vector = np.asarray(draw(pushed.shape))
    pulled = probe.vjp(vector, names)
    given = _norm({"": vector}), _norm(tangents)
    scale = given[0] * _norm({"": pushed}) + given[1] * _norm(pulled)
    difference = float(np.vdot(vector, pushed)) - _dot(pulled, tangents)
    return _symmetric("adjoint", wrt, difference, scale, given)


def hvp_symmetry(probe: Probe, wrt: str, names: Sequence[str], draw: Draw) -> GradientCheck:
    """The check "hvp_symmetry": u . Hvp(v) = v . Hvp(u)."""
    first, second = (random_direction(probe, names, draw) for _ in range(2))
    try:
        of_first, of_second = probe.hvp(first), probe.hvp(second)
    except Unimplemented as refusal:
        return _skipped("hvp_symmetry", wrt, refusal)
    given = _norm(first), _norm(second)
    scale = given[0] * _norm(of_second) + given[1] * _norm(of_first)
    difference = _dot(second, of_first) - _dot(first, of_second)
    return _symmetric("hvp_symmetry", wrt, difference, scale, given)


def _walk(probe: Probe, gradients: Vectors, direction: Vectors) -> _Walk:
    slope = _dot(gradients, direction)
    start, magnitude = probe.value()

    def value(step: float) -> float:
        with probe.moved(direction, step):
            return probe.value()[0]

    ahead = {step: value(step) for step in (*STEPS, *NOISE_STEPS)}
    remainder = {step: abs(reached - start - step * slope) for step, reached in ahead.items()}
    difference = (ahead[_DIFFERENCE_STEP] - value(-_DIFFERENCE_STEP)) / (2 * _DIFFERENCE_STEP)
    lost = rounding([remainder[step] for step in NOISE_STEPS], magnitude)
    return _Walk(slope, tuple(remainder[step] for step in STEPS), difference, lost)


def random_direction(probe: Probe, names: Sequence[str], draw: Draw) -> Vectors:
    """A direction of what is named: as long as the point's distance from zero, or 1 if that is smaller."""
    leaves = probe.leaves
    direction = {name: np.asarray(draw(leaves[name].shape)) for name in names}
    length = max(1.0, _norm({name: leaves[name] for name in names}))
    scale = length / _norm(direction)
    # An array without dimensions becomes a number when it is multiplied.
    return {name: np.asarray(scale * vector) for name, vector in direction.items()}


def _median(values: Sequence[float]) -> float:
    return math.nan if any(map(math.isnan, values)) else median_low(values)


def _symmetric(name: str, wrt: str, difference: float, scale: float, given: tuple[float, float]) -> GradientCheck:
    """Relative to what two products could be, unless all of it is what rounding leaves of zero."""
    is_rounding = abs(difference) <= _ROUNDING * given[0] * given[1]
    error = 0.0 if is_rounding else abs(difference) / scale
    return GradientCheck(name, wrt, error <= _LARGEST_ASYMMETRY, error, _LARGEST_ASYMMETRY)


def _skipped(name: str, wrt: str, refusal: Unimplemented) -> GradientCheck:
    return GradientCheck(
        name, wrt, passed=True, value=0.0, threshold=_LARGEST_ASYMMETRY, skipped_reason=refusal.message
    )


def _dot(one: Vectors, other: Vectors) -> float:
    return sum(float(np.vdot(one[name], other[name])) for name in one)


def _norm(vectors: Vectors) -> float:
    return math.sqrt(_dot(vectors, vectors))
