"""Gradient: a loss and its gradients, or a vector-Jacobian product."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from gradserve_server.engine import per_sample
from gradserve_server.engine.gradient_batch import compute_batch
from gradserve_server.engine.gradient_work import GradientWork
from gradserve_server.engine.model import Model
from gradserve_server.engine.objective import Objective, objective_of
from gradserve_server.engine.signature import signature_of
from gradserve_server.engine.target_values import check_target
from gradserve_server.engine.tensors import to_numpy
from gradserve_server.errors import ServiceError
from gradserve_server.operations import GradientCall, GradientResult
from gradserve_server.selection import INPUT, Selection


def prepare(model: Model, call: GradientCall) -> GradientWork:
    """Check a request, all but the values that a loss may refuse of an output.

    Raises:
        ServiceError: If it is refused.
    """
    plan = model.gradient_plans.plan(signature_of(call))
    ignored = 0
    if plan.loss is not None and call.loss is not None:
        ignored = check_target(plan.loss, call.loss)
    # No other work has the same object for its key.
    key = object() if plan.large and plan.key is not None else plan.key
    return GradientWork(call, key, plan.input.rows, plan.cost, plan, plan.values - ignored)


def compute(model: Model, works: Sequence[GradientWork]) -> list[GradientResult | ServiceError]:
    """Compute the gradients of works that `prepare` made for this model: of equal keys, or one whose key is None.

    Returns:
        The result of each, or why it is refused.
    """
    try:
        return [_alone(model, works[0])] if works[0].key is None else compute_batch(model, works)
    except ServiceError as refusal:
        if len(works) == 1:
            return [refusal]
    # Perhaps there was too little memory for all at once.
    return [result for work in works for result in compute(model, [work])]


def _alone(model: Model, work: GradientWork) -> GradientResult:
    call, selection = work.call, work.plan.selection
    with model.computing("Gradient", call) as seed:
        objective = objective_of(model, work.plan.loss, call, work.plan.input.output_shape)
        gradients_of = per_sample.gradients if call.per_sample else whole_gradients
        value, output, gradients = gradients_of(model, call, selection, objective)
        return GradientResult(
            loss=None if objective.criterion is None else to_numpy(value),
            output=to_numpy(output) if call.return_output else None,
            gradients={name: to_numpy(tensor) for name, tensor in gradients.items()},
            seed=seed,
        )


def whole_gradients(
    model: Model, call: GradientCall, selection: Selection, objective: Objective
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """The value, the output and the gradients of a batch taken as one."""
    leaf = model.leaf(call).requires_grad_(selection.input)
    output = model.run(leaf, training=call.training)
    leaves: dict[str, Tensor] = {name: model.parameters[name] for name in selection.parameters}
    if selection.input:
        leaves[INPUT] = leaf
    value, gradients = objective.gradients(output, tuple(leaves.values()))
    return value, output, dict(zip(leaves, gradients, strict=True))
