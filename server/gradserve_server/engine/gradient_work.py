"""One Gradient on its way to the device."""

from __future__ import annotations

from dataclasses import dataclass

from gradserve_server.engine.gradient_plan import GradientPlan
from gradserve_server.engine.work import Work
from gradserve_server.operations import GradientCall


@dataclass(slots=True, eq=False)
class GradientWork(Work[GradientCall]):
    """A Gradient to compute.

    Attributes:
        plan: How requests of its signature are computed.
        counted: How many values of its loss a mean counts.
    """

    plan: GradientPlan
    counted: int
