"""What differences of a function say about its gradient, at points where it may have kinks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

STEPS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
"""The lengths of steps along a direction, relative to the point's."""

RIGHT_RATE = 2.0

NOISE_STEPS = (1e-10, 1e-11, 1e-12)
"""Steps that are so short that what remains after them is rounding, also where the gradient is somewhat wrong."""

# Of the sum of magnitudes, that many layers' roundings; and of the largest of few remainders that are nothing else.
_ROUNDING = 1e-13
_NOISE = 10.0

# A remainder that is so small a part of the linear term is that of a kink, or of nothing.
_NEGLIGIBLE = 1e-4


def rounding(noise: Sequence[float], magnitude: float) -> float:
    """How far rounding alone may move a function.

    A layer that divides by next to nothing, such as a normalisation of a single value, makes much of the roundings
    before it, and its output does not show that.

    Args:
        noise: The remainders after NOISE_STEPS.
        magnitude: Of what is summed up to the function's value.
    """
    return max(_ROUNDING * magnitude, _NOISE * max(noise))


def rate(steps: Sequence[float], remainders: Sequence[float], *, rounding: float, slope: float) -> float:
    """How fast the remainder of a first-order Taylor expansion shrinks with the step: the slope on logarithmic scales.

    A right gradient has 2 and a wrong one 1 (P. E. Farrell et al., "Automated Derivation of the Adjoint of High-Level
    Transient Finite Element Programs", 2013, section 3). Remainders at the level of rounding tell nothing, and stand
    for what a right gradient leaves: so a kink that is not next to the point does not matter.

    Args:
        steps: From the largest down.
        remainders: Of each.
        rounding: What is lost in the function's roundings.
        slope: That of the linear terms, typically.
    """
    if not math.isfinite(sum(remainders)):
        return math.nan
    floors = [max(rounding, _NEGLIGIBLE * step * slope) for step in steps]
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


def difference_error(difference: float, derivative: float, *, step: float, rounding: float) -> float:
    """How far a central difference lies off a derivative: relative to the larger, beyond what rounding explains."""
    error = max(0.0, abs(difference - derivative) - rounding / step)
    larger = max(abs(difference), abs(derivative))
    return error / larger if error else 0.0 * larger
