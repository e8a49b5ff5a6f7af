"""Gradient: a loss and its gradients, or a vector-Jacobian product."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from gradserve_server.engine import per_sample
from gradserve_server.engine.model import Model
from gradserve_server.engine.objective import Objective, objective_of
from gradserve_server.engine.tensors import to_numpy
from gradserve_server.engine.work import Work
from gradserve_server.errors import InvalidArgument, ServiceError
from gradserve_server.operations import GradientCall, GradientResult
from gradserve_server.selection import INPUT, Selection, select

_ROWS_AND_FEATURES = 2


@dataclass(slots=True, eq=False)
class GradientWork(Work[GradientCall]):
    """A Gradient to compute, and what it differentiates with respect to what."""

    selection: Selection
    objective: Objective


def prepare(model: Model, call: GradientCall) -> GradientWork:
    """Check a request, all but the values that a loss may refuse of an output.

    Raises:
        ServiceError: If it is refused.
    """
    output_shape = model.check_input(call)
    selection = select(call.wrt, model.requires_grad)
    if call.per_sample:
        _check_rows(model, call)
    objective = objective_of(model, call, output_shape)
    _check_reply(model, call, selection, objective)
    rows = math.prod(call.input.shape[:-1])
    key = None if call.per_sample else model.key(call)
    return GradientWork(call, key, rows, 3 * rows * model.size, selection, objective)


def compute(model: Model, works: Sequence[GradientWork]) -> list[GradientResult | ServiceError]:
    """Compute the gradients of works that `prepare` made for this model: of equal keys, or one whose key is None.

    Returns:
        The result of each, or why it is refused.
    """
    return [_alone(model, work) for work in works]


def _alone(model: Model, work: GradientWork) -> GradientResult | ServiceError:
    call = work.call
    try:
        with model.computing("Gradient", call) as seed:
            gradients_of = per_sample.gradients if call.per_sample else whole_gradients
            value, output, gradients = gradients_of(model, call, work.selection, work.objective)
            return GradientResult(
                loss=None if work.objective.criterion is None else to_numpy(value),
                output=to_numpy(output) if call.return_output else None,
                gradients={name: to_numpy(tensor) for name, tensor in gradients.items()},
                seed=seed,
            )
    except ServiceError as refusal:
        return refusal


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


def _check_rows(model: Model, call: GradientCall) -> None:
    if call.input.ndim < _ROWS_AND_FEATURES:
        message = f"per_sample takes an input [N, in_features], got {list(call.input.shape)}"
        raise InvalidArgument(message, field="input.shape")
    if model.blueprint.mixes_rows(training=call.training):
        message = "per_sample has no meaning where BatchNorm1d computes its statistics over the rows"
        raise InvalidArgument(message, field="per_sample", reason="ROWS_NOT_INDEPENDENT")


def _check_reply(model: Model, call: GradientCall, selection: Selection, objective: Objective) -> None:
    repeats = call.input.shape[0] if call.per_sample else 1
    parameters = sum(model.parameters[name].numel() for name in selection.parameters) * repeats
    elements = parameters + objective.loss_elements(repeats)
    if call.return_output:
        elements += math.prod(objective.output_shape)
    if selection.input:
        elements += call.input.size * math.ceil(call.input.itemsize / model.dtype.itemsize)
    field, advice = "input.shape", "send fewer rows at a time"
    if parameters:
        field, advice = "wrt", f"name fewer parameters in wrt, or {advice}"
    # Loss, output and the input's gradient beside those of the parameters.
    model.check_reply(elements, field, advice, tensors=len(selection.parameters) + 3)
