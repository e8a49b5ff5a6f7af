"""CheckGradients: a model's derivatives held against each other and against differences of its outputs, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gradserve_server.engine.capabilities.warm_up import accepted_shape
from gradserve_server.engine.checks.derivatives import adjoint, differences, hvp_symmetry, random_direction
from gradserve_server.engine.checks.probe import Probe, float64_copy
from gradserve_server.engine.global_state import new_seed
from gradserve_server.engine.losses.signature import loss_signature
from gradserve_server.engine.losses.target_values import check_target
from gradserve_server.engine.model import Model
from gradserve_server.engine.plans.objective import bind_objective
from gradserve_server.engine.work import Work
from gradserve_server.errors import InvalidArgument, ResourceExhausted, ServiceError
from gradserve_server.operations.arrays import Array
from gradserve_server.operations.calls import CheckGradientsCall
from gradserve_server.operations.results import CheckGradientsResult, GradientCheck
from gradserve_server.selection import INPUT

_DEFAULT_ROWS = 8

# Each row is one more chance that a kink lies next to the point.
_MOST_ROWS = 64

# Zeros and other round numbers lie on kinks, as that of ReLU: so far, relative to it, is gone from the point first.
_OFF_KINKS = 1e-3

_EVALUATIONS = 200
"""About how many forwards it takes: each way of checking goes along a fixed number of directions."""

_SEEDS = 2**64


@dataclass(slots=True, eq=False)
class CheckGradientsWork(Work[CheckGradientsCall]):
    """A check to make.

    Attributes:
        x: The input, in float64.
        weights: Of the output.
        seed: What they, and the directions, are drawn from.
        generator: Gives the directions.
    """

    x: Array
    weights: Array
    seed: int
    generator: np.random.Generator


def prepare(model: Model, call: CheckGradientsCall) -> CheckGradientsWork:
    """Check a request, and draw what it leaves open.

    Raises:
        ServiceError: If it is refused.
    """
    seed = new_seed() if call.seed is None else call.seed
    generator = np.random.default_rng(seed % _SEEDS)
    x = call.input if call.has_input else _example(model, generator)
    plan = model.input_plans.plan(x.dtype, x.shape, False, False)  # noqa: FBT003 - neither in training nor deterministic
    if not x.size:
        raise InvalidArgument("there is nothing to differentiate without rows", field="input.shape")
    if plan.rows > _MOST_ROWS:
        message = f"gradients are checked at {_MOST_ROWS} rows at most, got {plan.rows}"
        raise ResourceExhausted(message, field="input.shape", reason="TOO_MANY_ROWS")
    if call.loss is not None:
        bound = bind_objective(loss_signature(call.loss), None, plan.output_shape)
        if bound is not None:
            check_target(bound, call.loss)
    weights = generator.standard_normal(plan.output_shape)
    cost = _EVALUATIONS * plan.cost
    return CheckGradientsWork(call, None, plan.rows, cost, x.astype(np.float64), weights, seed, generator)


def _example(model: Model, generator: np.random.Generator) -> Array:
    example: Array = generator.standard_normal((_DEFAULT_ROWS, *accepted_shape(model)[1:]))
    return example


def compute(model: Model, works: Sequence[CheckGradientsWork]) -> list[CheckGradientsResult | ServiceError]:
    """Make the checks of a work that `prepare` made for this model.

    Returns:
        The result, or why the loss or torch refuses the input.
    """
    (work,) = works
    try:
        return [CheckGradientsResult(tuple(_checks(model, work)), work.seed)]
    except ServiceError as refusal:
        return [refusal]


def _checks(model: Model, work: CheckGradientsWork) -> list[GradientCheck]:
    probe, draw = Probe(float64_copy(model), work.x, work.call.loss, work.weights), work.generator.standard_normal
    with probe.moved(random_direction(probe, [*probe.leaves], draw), _OFF_KINKS):
        return [
            check
            for wrt, names in (("input", (INPUT,)), ("parameters", tuple(model.parameters)))
            if names
            for check in (
                *differences(probe, wrt, names, draw),
                adjoint(probe, wrt, names, draw),
                hvp_symmetry(probe, wrt, names, draw),
            )
        ]
