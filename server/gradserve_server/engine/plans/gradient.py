"""What a model makes of a Gradient of some signature, before the values of its tensors are looked at."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache

import torch

from gradserve_server.config import Limits
from gradserve_server.engine.losses.binding import BoundLoss
from gradserve_server.engine.losses.rows import RowLoss, row_loss
from gradserve_server.engine.network.mlp import Blueprint
from gradserve_server.engine.network.shapes import Shape
from gradserve_server.engine.plans.gradient_options import check_max_norm, check_options
from gradserve_server.engine.plans.input import InputPlan, InputPlans
from gradserve_server.engine.plans.objective import bind_objective
from gradserve_server.engine.plans.signature import Signature, signature_of
from gradserve_server.engine.reply import check_reply
from gradserve_server.errors import InvalidArgument, ResourceExhausted
from gradserve_server.operations.calls import GradientCall, PerSampleResult
from gradserve_server.selection import Selection, select

_REMEMBERED = 256

# Globs may be long, and what is remembered must not grow with them.
_LONGEST_REMEMBERED = 1024

_ROWS_AND_FEATURES = 2

# Bytes of the gradients of parameters. What the requests of a batch share is little beside larger ones, and to hold
# many of those at once takes fresh memory where one after the other would take the same again.
_LARGEST_IN_BATCH = 256 * 1024

_PASSES = 3
"""A backward costs about two forwards."""


@dataclass(frozen=True)
class GradientPlan:
    """How requests of one signature are computed.

    Attributes:
        input: How their input is.
        key: As in Work.
        cost: As in Work.
        large: Whether each is better computed by itself, though it could share a batch.
        selection: With respect to what they differentiate.
        names: The names of the selected parameters.
        loss: What they differentiate; None for the output itself.
        row_loss: The same where rows of several requests can be evaluated in one go; else None.
        loss_shape: The shape of the loss in the reply, but for gradients of each row; None without a loss.
        values: How many values a mean is taken of.
    """

    input: InputPlan
    key: Hashable | None
    cost: int
    large: bool
    selection: Selection
    names: AbstractSet[str]
    loss: BoundLoss | None
    row_loss: RowLoss | None
    loss_shape: Shape | None
    values: int


class GradientPlans:
    """The plans of one architecture, dtype and set of requires_grad flags, remembered. It holds no weights."""

    def __init__(
        self,
        blueprint: Blueprint,
        inputs: InputPlans,
        requires_grad: Mapping[str, bool],
        dtype: torch.dtype,
        limits: Limits,
    ) -> None:
        self._blueprint = blueprint
        self._inputs = inputs
        self._requires_grad = requires_grad
        self._dtype = dtype
        self._limits = limits
        self._sizes = {name: parameter.numel() for name, parameter in blueprint.skeleton.named_parameters()}
        self._remembered = lru_cache(_REMEMBERED)(self._plan)
        self._of_forms: dict[object, GradientPlan] = {}

    def plan(self, call: GradientCall) -> GradientPlan:
        """The plan of a request.

        Raises:
            ServiceError: If it is refused.
        """
        if (form := call.form) is None:
            return self._looked_up(call)
        if (plan := self._of_forms.get(form)) is None:
            plan = self._looked_up(call)
            if len(self._of_forms) >= _REMEMBERED:
                self._of_forms.clear()
            self._of_forms[form] = plan
        return plan

    def _looked_up(self, call: GradientCall) -> GradientPlan:
        check_max_norm(call)
        signature = signature_of(call)
        length = sum(map(len, signature.wrt))
        return self._remembered(signature) if length <= _LONGEST_REMEMBERED else self._plan(signature)

    def _plan(self, signature: Signature) -> GradientPlan:
        own = signature.input
        input_plan = self._inputs.plan(own.dtype, own.shape, signature.training, signature.deterministic)
        selection = select(signature.wrt, self._requires_grad)
        check_options(signature, selection)
        if signature.per_sample:
            self._check_rows(signature)
        loss = bind_objective(
            signature.loss,
            signature.grad_output,
            input_plan.output_shape,
            per_sample=signature.per_sample,
            batched=signature.is_grads_batched,
        )
        self._check_vectors(signature, input_plan.rows)
        self._check_reply(signature, selection, input_plan.output_shape, loss)
        return GradientPlan(
            input=input_plan,
            key=None if signature.per_sample or signature.is_grads_batched else input_plan.row or None,
            cost=_PASSES * input_plan.cost * _vectors(signature),
            large=self._parameter_elements(selection) * self._dtype.itemsize > _LARGEST_IN_BATCH,
            selection=selection,
            names=frozenset(selection.parameters),
            loss=loss,
            row_loss=_row_loss(signature, loss, input_plan.row),
            loss_shape=None if loss is None else loss.value_shape if signature.grad_output is not None else (),
            values=math.prod(input_plan.output_shape if loss is None else loss.value_shape),
        )

    def _parameter_elements(self, selection: Selection) -> int:
        return sum(self._sizes[name] for name in selection.parameters)

    def _check_rows(self, signature: Signature) -> None:
        if len(signature.input.shape) < _ROWS_AND_FEATURES:
            message = f"per_sample takes an input [N, in_features], got {list(signature.input.shape)}"
            raise InvalidArgument(message, field="input.shape")
        if self._blueprint.mixes_rows(training=signature.training):
            message = "per_sample has no meaning where BatchNorm1d computes its statistics over the rows"
            raise InvalidArgument(message, field="per_sample", reason="ROWS_NOT_INDEPENDENT")
        if not (signature.training and self._blueprint.random):
            # A layer may take several rows and refuse a single one; but where masks are drawn, it is for all at once.
            shape = (min(1, signature.input.shape[0]), *signature.input.shape[1:])
            self._inputs.plan(signature.input.dtype, shape, signature.training, signature.deterministic)

    def _check_vectors(self, signature: Signature, rows: int) -> None:
        vectors = _vectors(signature)
        if vectors > 1 and vectors * rows > self._limits.max_rows:
            message = f"{vectors} vectors for {rows} rows are more than this server allows: send fewer at a time"
            raise ResourceExhausted(message, field="grad_output.shape", reason="TOO_MANY_DIRECTIONS")

    def _check_reply(
        self, signature: Signature, selection: Selection, output_shape: Shape, loss: BoundLoss | None
    ) -> None:
        own = signature.input
        samples = own.shape[0] if signature.per_sample else 1
        is_full = signature.per_sample_result in {None, PerSampleResult.FULL}
        repeats = samples * _vectors(signature) if is_full else 1
        if signature.per_sample_result is PerSampleResult.NORMS:
            repeats = 0
        parameters = self._parameter_elements(selection) * repeats
        elements = parameters if is_full else parameters + samples
        if loss is not None:
            elements += samples if signature.grad_output is None else math.prod(loss.value_shape)
        if signature.return_output:
            elements += math.prod(output_shape)
        if selection.input and is_full:
            each = math.ceil(own.dtype.itemsize / self._dtype.itemsize)
            elements += math.prod(own.shape) * _vectors(signature) * each
        field, advice = "input.shape", "send fewer rows at a time"
        if parameters:
            field, advice = "wrt", f"name fewer parameters in wrt, or {advice}"
        # Loss, output and the input's gradient beside those of the parameters.
        tensors = len(selection.parameters) + 3
        check_reply(self._limits, self._dtype, elements, tensors, field, advice)


def _row_loss(signature: Signature, loss: BoundLoss | None, row: Shape) -> RowLoss | None:
    # Class ids are for the last of two dimensions, which a row of more than one has not.
    if len(row) > 1 and loss is not None and loss.kind.of_classes:
        return None
    return row_loss("" if signature.loss is None else signature.loss.name, loss)


def _vectors(signature: Signature) -> int:
    vector = signature.grad_output
    return vector.shape[0] if signature.is_grads_batched and vector is not None else 1
