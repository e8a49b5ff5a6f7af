"""What can be asked of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from gradserve_server.engine import forward
from gradserve_server.engine.checks import gradient_check
from gradserve_server.engine.gradients import gradient
from gradserve_server.engine.jacobians import jacobian
from gradserve_server.engine.model import Model
from gradserve_server.engine.products import hvp, jvp
from gradserve_server.engine.work import Work
from gradserve_server.errors import ServiceError
from gradserve_server.operations.calls import (
    CheckGradientsCall,
    ForwardCall,
    GradientCall,
    HvpCall,
    JacobianCall,
    JvpCall,
)
from gradserve_server.operations.results import (
    CheckGradientsResult,
    ForwardResult,
    GradientResult,
    HvpResult,
    JacobianResult,
    JvpResult,
    Result,
)

CallT = TypeVar("CallT", bound=ForwardCall)
ResultT = TypeVar("ResultT", bound=Result)


@dataclass(frozen=True, eq=False)
class Operation(Generic[CallT, ResultT]):
    """One of the engine's operations.

    Attributes:
        name: What logs and metrics call it.
        prepare: Checks a call against a model; raises ServiceError.
        compute: Computes works of equal keys, or a single one; gives the result or the refusal of each.
    """

    name: str
    prepare: Callable[[Model, CallT], Work[CallT]]
    compute: Callable[[Model, Sequence[Any]], Sequence[ResultT | ServiceError]]


FORWARD: Final[Operation[ForwardCall, ForwardResult]] = Operation("forward", forward.prepare, forward.compute)
GRADIENT: Final[Operation[GradientCall, GradientResult]] = Operation("gradient", gradient.prepare, gradient.compute)
JACOBIAN: Final[Operation[JacobianCall, JacobianResult]] = Operation("jacobian", jacobian.prepare, jacobian.compute)
JVP: Final[Operation[JvpCall, JvpResult]] = Operation("jvp", jvp.prepare, jvp.compute)
HVP: Final[Operation[HvpCall, HvpResult]] = Operation("hvp", hvp.prepare, hvp.compute)
CHECK_GRADIENTS: Final[Operation[CheckGradientsCall, CheckGradientsResult]] = Operation(
    "check_gradients", gradient_check.prepare, gradient_check.compute
)
