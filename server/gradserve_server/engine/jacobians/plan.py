"""What a model makes of a Jacobian's request, before the values of its input are looked at."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gradserve_server.engine.model import Model
from gradserve_server.engine.network.shapes import Shape
from gradserve_server.engine.plans.input import InputPlan
from gradserve_server.engine.reply import check_reply
from gradserve_server.engine.work import Work
from gradserve_server.errors import InvalidArgument, ResourceExhausted, Unimplemented
from gradserve_server.operations.calls import JacobianCall, JacobianMode
from gradserve_server.selection import INPUT, Selection, select

# A loop holds the device for as long as it runs; over one graph each row costs as much as the whole batch.
_MOST_ONE_BY_ONE = 1_024

_MOST_WORK = 2**40
"""Multiply-adds: what about the largest Forward takes."""

_FEWER_ROWS = "send fewer rows at a time"


@dataclass(frozen=True)
class Point:
    """Where a Jacobian is taken.

    Attributes:
        leading: The input's dimensions that count rows.
        row: The others.
        output_row: Those of the output.
        leaves: The shapes of what is differentiated by, for one row, by name.
    """

    leading: Shape
    row: Shape
    output_row: Shape
    leaves: dict[str, Shape]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return math.prod(self.leading)

    @property
    def outputs(self) -> int:
        """The elements of a row's output: the passes that reverse mode takes."""
        return math.prod(self.output_row)

    @property
    def elements(self) -> int:
        """The elements of what is differentiated by: the passes that forward mode takes."""
        return sum(map(math.prod, self.leaves.values()))

    def shape(self, name: str) -> Shape:
        """Of the Jacobian with respect to a leaf."""
        return (*self.leading, *self.output_row, *self.leaves[name])


@dataclass(slots=True, eq=False)
class JacobianWork(Work[JacobianCall]):
    """A Jacobian to compute.

    Attributes:
        input: How its input is computed.
        selection: What is differentiated by.
        point: Where.
        mode: How.
    """

    input: InputPlan
    selection: Selection
    point: Point
    mode: JacobianMode


def prepare(model: Model, call: JacobianCall) -> JacobianWork:
    """Check a request.

    Raises:
        ServiceError: If it is refused.
    """
    _check_independent(model, call)
    shape = call.input.shape
    plan = model.input_plans.plan(call.input.dtype, shape, call.training, call.deterministic)
    selection = select(call.wrt or (INPUT,), model.requires_grad)
    if call.chunk_size is not None and call.chunk_size < 1:
        raise InvalidArgument(f"must be at least 1, got {call.chunk_size}", field="chunk_size")
    row = _row(model, call)
    leading = shape[: len(shape) - len(row)]
    leaves = {name: tuple(model.parameters[name].shape) for name in selection.parameters}
    if selection.input:
        leaves[INPUT] = row
    point = Point(leading, row, plan.output_shape[len(leading) :], leaves)
    mode = call.mode or (JacobianMode.FORWARD if point.elements < point.outputs else JacobianMode.REVERSE)
    work = JacobianWork(call, None, plan.rows, plan.cost, plan, selection, point, mode)
    _check_reply(model, work)
    work.cost *= 1 + 2 * _check_passes(model, work)
    return work


def _check_independent(model: Model, call: JacobianCall) -> None:
    blueprint = model.blueprint
    if blueprint.mixes_rows(training=False):
        layers = enumerate(model.module.layers)
        index, layer = next(each for each in layers if not getattr(each[1], "track_running_stats", True))
        message = f"a row has no Jacobian of its own: layers.{index}, {layer}, computes its statistics over the rows"
        raise Unimplemented(message, reason="ROWS_NOT_INDEPENDENT")
    if blueprint.mixes_rows(training=call.training):
        message = "a row has no Jacobian of its own where BatchNorm1d computes its statistics over the rows"
        raise InvalidArgument(message, field="training", reason="ROWS_NOT_INDEPENDENT")


def _row(model: Model, call: JacobianCall) -> Shape:
    shape, blueprint = call.input.shape, model.blueprint
    row = blueprint.row_shape(shape) if shape else ()
    if shape and not row:
        message = "the layers do not agree which dimensions of this input count rows, so that none has a Jacobian"
        raise InvalidArgument(message, field="input.shape", reason="ROWS_NOT_INDEPENDENT")
    if not model.is_random(call):
        # A layer may take several rows and refuse a single one; but where masks are drawn, it is for all at once.
        alone = (0 if 0 in shape else 1, *row)
        model.input_plans.plan(call.input.dtype, alone, call.training, call.deterministic)
    return row


def _check_reply(model: Model, work: JacobianWork) -> None:
    point, size = work.point, model.dtype.itemsize
    parameters = sum(math.prod(shape) for name, shape in point.leaves.items() if name != INPUT)
    elements = parameters * point.rows * point.outputs
    if work.selection.input:
        each = math.ceil(work.call.input.dtype.itemsize / size)
        elements += point.rows * point.outputs * math.prod(point.row) * each
    if work.call.return_output:
        elements += point.rows * point.outputs
    field, advice = "input.shape", _FEWER_ROWS
    if parameters:
        field, advice = "wrt", f"name fewer parameters in wrt, or {advice}"
    check_reply(model.limits, model.dtype, elements, len(point.leaves) + 1, field, advice)


def _check_passes(model: Model, work: JacobianWork) -> int:
    """How many passes it takes, if these are not too many."""
    call, point = work.call, work.point
    reverse = work.mode is JacobianMode.REVERSE
    passes = point.outputs if reverse else point.elements
    if passes * point.rows > model.limits.max_rows or passes * work.cost > _MOST_WORK:
        raise _too_many_passes(f"{point.rows} rows in {passes} passes are more than this server allows")
    if model.is_random(call):
        one_by_one = point.rows * point.outputs if reverse and work.selection.parameters else passes
        if one_by_one > _MOST_ONE_BY_ONE:
            message = f"it would take {one_by_one} passes one by one, and this server allows {_MOST_ONE_BY_ONE}"
            raise _too_many_passes(message)
    elif call.deterministic and point.rows > _MOST_ONE_BY_ONE:
        message = f"{point.rows} rows would go one by one, and this server allows {_MOST_ONE_BY_ONE}"
        raise ResourceExhausted(f"{message}: {_FEWER_ROWS}", field="input.shape", reason="TOO_MANY_ROWS")
    return passes


def _too_many_passes(message: str) -> ResourceExhausted:
    advice = f"{_FEWER_ROWS}, name fewer in wrt, or ask for the other mode"
    return ResourceExhausted(f"{message}: {advice}", field="input.shape", reason="TOO_MANY_PASSES")
