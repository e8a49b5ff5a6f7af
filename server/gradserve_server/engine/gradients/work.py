"""One Gradient on its way to the device, and what is found for it there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from gradserve_server.engine.plans.gradient import GradientPlan
from gradserve_server.engine.work import Work
from gradserve_server.operations.calls import GradientCall


@dataclass(slots=True, eq=False)
class GradientWork(Work[GradientCall]):
    """A Gradient to compute.

    Attributes:
        plan: How requests of its signature are computed.
        counted: How many values of its loss a mean counts.
    """

    plan: GradientPlan
    counted: int


class Answer(NamedTuple):
    """What is found for a Gradient that is computed alone.

    Attributes:
        value: What was differentiated.
        output: Of the model.
        gradients: By parameter name, and the input's under "input".
        norms: Those of the gradients of each row, where they are asked for.
    """

    value: Tensor
    output: Tensor
    gradients: Mapping[str, Tensor]
    norms: Tensor | None = None
