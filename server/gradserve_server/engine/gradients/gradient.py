"""Gradient: a loss and its gradients, or a vector-Jacobian product."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from gradserve_server.engine.gradients.batch import compute_batch
from gradserve_server.engine.gradients.lone import compute_lone
from gradserve_server.engine.gradients.objective import Objective, objective_of
from gradserve_server.engine.gradients.per_sample import per_sample_gradients
from gradserve_server.engine.gradients.work import Answer, GradientWork
from gradserve_server.engine.losses.target_values import check_target
from gradserve_server.engine.model import Model
from gradserve_server.engine.network.pullback import Pullback
from gradserve_server.engine.network.rows import join
from gradserve_server.engine.tensors import to_numpy
from gradserve_server.errors import ServiceError
from gradserve_server.operations.calls import GradientCall
from gradserve_server.operations.results import GradientResult
from gradserve_server.selection import INPUT


def prepare(model: Model, call: GradientCall) -> GradientWork:
    """Check a request, all but the values that a loss may refuse of an output.

    Raises:
        ServiceError: If it is refused.
    """
    plan = model.gradient_plans.plan(call)
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
        if works[0].key is None:
            return [_alone(model, works[0])]
        return [compute_lone(model, works[0])] if len(works) == 1 else compute_batch(model, works)
    except ServiceError as refusal:
        if len(works) == 1:
            return [refusal]
    # Perhaps there was too little memory for all at once.
    return [result for work in works for result in compute(model, [work])]


def _alone(model: Model, work: GradientWork) -> GradientResult:
    call = work.call
    with model.computing("Gradient", call) as seed:
        objective = objective_of(
            model, work.plan.loss, call, work.plan.input.output_shape, is_grads_batched=call.is_grads_batched
        )
        value, output, gradients, norms = _way(work)(model, work, objective)
        return GradientResult(
            loss=None if objective.criterion is None else to_numpy(value),
            output=to_numpy(output) if call.return_output else None,
            gradients={name: to_numpy(tensor) for name, tensor in gradients.items()},
            seed=seed,
            norms=None if norms is None else to_numpy(norms),
        )


def _way(work: GradientWork) -> Callable[[Model, GradientWork, Objective], Answer]:
    if work.call.per_sample:
        return per_sample_gradients
    # What rows can be joined is without the tape.
    return traced_gradients if work.plan.input.row else whole_gradients


def whole_gradients(model: Model, work: GradientWork, objective: Objective) -> Answer:
    """The gradients of a batch taken as one."""
    call, selection = work.call, work.plan.selection
    leaf = model.leaf(call).requires_grad_(selection.input)
    output = model.run(leaf, training=call.training)
    leaves: dict[str, Tensor] = {name: model.parameters[name] for name in selection.parameters}
    if selection.input:
        leaves[INPUT] = leaf
    value, gradients = objective.gradients(output, tuple(leaves.values()))
    return Answer(value, output, dict(zip(leaves, gradients, strict=True)))


def traced_gradients(model: Model, work: GradientWork, objective: Objective) -> Answer:
    """The gradients for several vectors, of rows that can be joined: these alone go back, and the loss on the tape."""
    call, plan, selection = work.call, work.plan, work.plan.selection
    values = model.stack.trace(join([call.input], plan.input.row, model.dtype, model.device))
    leaf = values[-1].detach().reshape(plan.input.output_shape).requires_grad_()
    value, (vectors,) = objective.gradients(leaf, (leaf,))
    grad_input, found = Pullback(model.stack, values).products(
        vectors.reshape(-1, *values[-1].shape), plan.names, groups=1, to_input=selection.input
    )
    gradients = {name: found[name][:, 0] for name in selection.parameters}
    if selection.input:
        gradients[INPUT] = grad_input.to(plan.input.dtype).reshape(-1, *call.input.shape)
    return Answer(value, leaf, gradients)
