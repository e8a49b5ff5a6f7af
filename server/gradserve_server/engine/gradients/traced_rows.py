"""Per-sample gradients from one trace of all rows: the derivatives of each row's loss go back together.

Of the gradients of parameters no more is computed than is asked for: neither norms nor a sum need those of each row.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradserve_server.engine.gradients.clipping import clip_factors
from gradserve_server.engine.gradients.objective import Objective
from gradserve_server.engine.gradients.row_evaluation import evaluate_rows
from gradserve_server.engine.gradients.work import Answer, GradientWork
from gradserve_server.engine.model import Model
from gradserve_server.engine.network.pullback import Pullback
from gradserve_server.engine.network.rows import join
from gradserve_server.engine.network.stack import Segment
from gradserve_server.operations.calls import PerSampleResult
from gradserve_server.selection import INPUT


def answer(model: Model, work: GradientWork, objective: Objective) -> Answer | None:
    """What is asked of the gradients of rows that can be joined; None where it must be found row by row."""
    call, plan = work.call, work.plan
    samples = call.input.shape[0]
    values = model.stack.trace(join([call.input], plan.input.row, model.dtype, model.device))
    output = values[-1].reshape(plan.input.output_shape)
    losses, grad_output = evaluate_rows(model, work, objective, values[-1])
    if call.per_sample_result in {None, PerSampleResult.FULL}:
        gradients = _gradients(model, work, values, grad_output)
        return Answer(losses, output, gradients)
    norms = _norms(model, work, values, grad_output)
    if call.per_sample_result is PerSampleResult.NORMS:
        return Answer(losses, output, {}, norms)
    if not norms.isfinite().all():
        # A row's gradients times zero may still not be zero, which their sum could not tell.
        return None
    factors = clip_factors(norms, call.max_norm).repeat_interleave(grad_output.size(0) // samples)
    weighted = grad_output * factors.reshape(-1, *[1] * (grad_output.dim() - 1))
    _, (summed,) = model.stack.backward(values, weighted, [Segment(None, plan.names)], to_input=False)
    return Answer(losses, output, {name: summed[name] for name in plan.selection.parameters}, norms)


def _gradients(model: Model, work: GradientWork, values: list[Tensor], grad_output: Tensor) -> dict[str, Tensor]:
    selection, shape = work.plan.selection, work.call.input.shape
    grad_input, found = Pullback(model.stack, values).products(
        grad_output[None], work.plan.names, groups=shape[0], to_input=selection.input
    )
    gradients = {name: found[name][0] for name in selection.parameters}
    if selection.input:
        gradients[INPUT] = grad_input.to(work.plan.input.dtype).reshape(shape)
    return gradients


def _norms(model: Model, work: GradientWork, values: list[Tensor], grad_output: Tensor) -> Tensor:
    samples, to_input = work.call.input.shape[0], work.plan.selection.input
    grad_input, norms = model.stack.norms_of_groups(values, grad_output, samples, work.plan.names, to_input=to_input)
    if to_input:
        # Of what would be returned, which may have been rounded.
        returned = grad_input.to(work.plan.input.dtype).to(model.dtype)
        norms.append(torch.linalg.vector_norm(returned.reshape(samples, -1), dim=1))
    total: Tensor = torch.linalg.vector_norm(torch.stack(norms), dim=0)
    return total
