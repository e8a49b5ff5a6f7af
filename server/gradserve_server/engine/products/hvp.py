"""Hvp: products of vectors with the Hessian of a loss, or of the output weighted by a vector.

The gradients are differentiated once more, backwards: the one order that torch has for every loss and every layer that
has a second derivative at all. Forwards over backwards lacks mse_loss, huber_loss and soft_margin_loss; backwards over
forwards gives other numbers where LayerNorm, or BatchNorm1d in training, normalises.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gradserve_server.engine.gradients.objective import objective_of
from gradserve_server.engine.losses.binding import BoundLoss
from gradserve_server.engine.losses.signature import TensorType, loss_signature
from gradserve_server.engine.losses.target_values import check_target
from gradserve_server.engine.model import Model
from gradserve_server.engine.plans.input import InputPlan
from gradserve_server.engine.plans.objective import bind_objective
from gradserve_server.engine.products.directions import check_count, check_directions, shapes_of, to_tensors
from gradserve_server.engine.products.hessian import hessian_vector_products
from gradserve_server.engine.products.second_derivatives import second_derivatives
from gradserve_server.engine.reply import check_reply
from gradserve_server.engine.tensors import to_numpy, torch_dtype
from gradserve_server.engine.work import Work
from gradserve_server.errors import ServiceError
from gradserve_server.operations.arrays import Array
from gradserve_server.operations.calls import HvpCall
from gradserve_server.operations.results import HvpResult
from gradserve_server.selection import INPUT, Selection, check_trainable, select

_GRADIENT = 3
_PRODUCT = 6
"""A product costs about as much as two gradients, which cost three forwards each."""


@dataclass(slots=True, eq=False)
class HvpWork(Work[HvpCall]):
    """An Hvp to compute.

    Attributes:
        plan: How its input is.
        selection: The rows of the Hessian whose products it asks for.
        loss: What it differentiates; None for the output itself.
        count: How many vectors there are; None for a single one that is not batched.
    """

    plan: InputPlan
    selection: Selection
    loss: BoundLoss | None
    count: int | None

    @property
    def selected(self) -> tuple[str, ...]:
        """The names of the selected rows."""
        names = self.selection.parameters
        return (*names, INPUT) if self.selection.input else names


def prepare(model: Model, call: HvpCall) -> HvpWork:
    """Check a request, all but the values that a loss may refuse of an output.

    Raises:
        ServiceError: If it is refused.
    """
    plan = model.input_plans.plan(call.input.dtype, call.input.shape, call.training, call.deterministic)
    shapes = shapes_of(model, call.input.shape)
    count = check_directions(call.vectors, shapes, "vectors", batched=call.is_vectors_batched)
    for name in call.vectors:
        check_trainable(name, model.requires_grad, f"vectors[{name}]")
    check_count(count, plan, model.limits, "vectors")
    selection = select(call.wrt or tuple(call.vectors), model.requires_grad)
    loss = bind_objective(loss_signature(call.loss), TensorType.of(call.grad_output), plan.output_shape)
    if loss is not None and call.loss is not None:
        check_target(loss, call.loss)
    cost = (_GRADIENT + _PRODUCT * (count or 1)) * plan.cost
    work = HvpWork(call, None, plan.rows, cost, plan, selection, loss, count)
    _check_reply(model, work)
    return work


def _check_reply(model: Model, work: HvpWork) -> None:
    call, selection = work.call, work.selection
    elements = sum(model.parameters[name].numel() for name in selection.parameters)
    if selection.input:
        elements += call.input.size * math.ceil(call.input.dtype.itemsize / model.dtype.itemsize)
    elements *= (work.count or 1) + call.return_gradients
    if work.loss is not None:
        elements += 1 if call.grad_output is None else call.grad_output.size
    tensors = (1 + call.return_gradients) * len(work.selected) + 1
    field, advice = ("vectors", "fewer vectors at a time") if work.count else ("input.shape", "fewer rows at a time")
    if selection.parameters:
        field, advice = "wrt", f"{advice}, or name fewer parameters in wrt"
    check_reply(model.limits, model.dtype, elements, tensors, field, f"send {advice}")


def compute(model: Model, works: Sequence[HvpWork]) -> list[HvpResult | ServiceError]:
    """Compute the products of a work that `prepare` made for this model.

    Returns:
        The result, or why it is refused.
    """
    (work,) = works
    try:
        return [_computed(model, work)]
    except ServiceError as refusal:
        return [refusal]


def _computed(model: Model, work: HvpWork) -> HvpResult:
    call = work.call
    with model.computing("Hvp", call) as seed:
        objective = objective_of(model, work.loss, call, work.plan.output_shape)
        leaves = _leaves(model, work)
        value = objective.value(model.run(leaves[INPUT], training=call.training))
        wanted = dict.fromkeys((*call.vectors, *(work.selected if call.return_gradients else ())))
        found = torch.autograd.grad(value, [leaves[name] for name in wanted], objective.vector, create_graph=True)
        gradients = dict(zip(wanted, found, strict=True))
        with second_derivatives(model, leaves[INPUT], work.loss):
            products = hessian_vector_products(
                gradients,
                to_tensors(model, call.vectors, deterministic=call.deterministic),
                {name: leaves[name] for name in work.selected},
                work.count,
                together=_are_batched(model, call),
            )
        own = {name: gradients[name] for name in work.selected if call.return_gradients}
        loss = None if objective.criterion is None else to_numpy(value)
        return HvpResult(loss, _as_sent(products, call), _as_sent(own, call), seed)


def _leaves(model: Model, work: HvpWork) -> dict[str, Tensor]:
    """The parameters, and the input in the model's dtype."""
    value = model.leaf(work.call).to(model.dtype)
    value.requires_grad_(work.selection.input or INPUT in work.call.vectors)
    return {**model.parameters, INPUT: value}


def _are_batched(model: Model, call: HvpCall) -> bool:
    # torch's batching rule for the second derivative of group_norm gives wrong numbers for some shapes.
    return not call.deterministic and not any(isinstance(layer, nn.GroupNorm) for layer in model.module.layers)


def _as_sent(tensors: Mapping[str, Tensor], call: HvpCall) -> dict[str, Array]:
    """The arrays of some tensors, the input's in the dtype of the input that was sent."""
    sent = torch_dtype(call.input.dtype)
    return {name: to_numpy(tensor.to(sent) if name == INPUT else tensor) for name, tensor in tensors.items()}
