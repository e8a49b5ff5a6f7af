"""What differences of a function say about its gradient, at points where it may have kinks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

STEPS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
"""The lengths of steps along a direction, relative to the point's."""

RIGHT_RATE = 2.0

# Of the sum of magnitudes, that many layers' roundings.
_ROUNDING = 1e-13

# A remainder that is so small a part of the linear term is that of a kink, or of nothing.
_NEGLIGIBLE = 1e-4


def rate(steps: Sequence[float], remainders: Sequence[float], *, magnitude: float, slope: float) -> float:
    """How fast the remainder of a first-order Taylor expansion shrinks with the step: the slope on logarithmic scales.

    A right gradient has 2 and a wrong one 1 (P. E. Farrell et al., "Automated Derivation of the Adjoint of High-Level
    Transient Finite Element Programs", 2013, section 3). Remainders at the level of rounding tell nothing, and stand
    for what a right gradient leaves: so a kink that is not next to the point does not matter.

    Args:
        steps: From the largest down.
        remainders: Of each.
        magnitude: What rounding errors of the function are relative to.
        slope: That of the linear terms, typically.
    """
    if not math.isfinite(sum(remainders)):
        return math.nan
    floors = [max(_ROUNDING * magnitude, _NEGLIGIBLE * step * slope) for step in steps]
    told = [remainder > floor for remainder, floor in zip(remainders, floors, strict=True)]
    if not any(told):
        return RIGHT_RATE
    first = told.index(True)
    logs = []
    for step, remainder, is_told in zip(steps[first:], remainders[first:], told[first:], strict=True):
        quadratic = remainders[first] * (step / steps[first]) ** 2
        logs.append(math.log(remainder if is_told else quadratic))
    if len(logs) == 1:
        return RIGHT_RATE
    return float(np.polyfit(np.log(steps[first:]), logs, 1)[0])


def difference_error(difference: float, derivative: float, *, step: float, magnitude: float) -> float:
    """How far a central difference lies off a derivative: relative to the larger, beyond what rounding explains."""
    error = max(0.0, abs(difference - derivative) - _ROUNDING * magnitude / step)
    larger = max(abs(difference), abs(derivative))
    return error / larger if error else 0.0 * larger
