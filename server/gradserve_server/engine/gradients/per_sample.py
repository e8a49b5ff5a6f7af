"""Per-sample gradients: row i of the answer is what Gradient gives for `input[i:i+1]` and `target[i:i+1]`.

Three ways to the same numbers. Mostly one trace of all rows is enough, whose gradients are told apart. A loop over the
rows is bit-equal to asking for each. Where random layers draw one mask for the whole batch, the rows are taken from the
one graph of that batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from gradserve_server.engine.gradients import traced_rows
from gradserve_server.engine.gradients.objective import Objective
from gradserve_server.engine.gradients.row_sinks import row_sink
from gradserve_server.engine.gradients.work import Answer, GradientWork
from gradserve_server.engine.model import Model
from gradserve_server.errors import ResourceExhausted
from gradserve_server.operations.calls import GradientCall, PerSampleResult
from gradserve_server.selection import INPUT, Selection

# A loop holds the device for as long as it runs; over one graph each row costs as much as the whole batch.
_MOST_LOOPED_ROWS = 16_384
_MOST_ROWS_OF_ONE_GRAPH = 1_024


def per_sample_gradients(model: Model, work: GradientWork, objective: Objective) -> Answer:
    """The values [N] (or unreduced, where a vector weights them), the output, and what is asked of the gradients."""
    call, selection = work.call, work.plan.selection
    if not call.input.shape[0]:
        return _no_rows(model, call, selection, objective)
    if work.plan.input.row and (answer := traced_rows.answer(model, work, objective)):
        return answer
    rows = _from_one_graph if model.is_random(call) else _row_by_row
    return _collected(rows(model, call, selection, objective), model, call, selection)


class _Row(NamedTuple):
    value: Tensor
    output: Tensor
    gradients: tuple[Tensor, ...]


def _row_by_row(model: Model, call: GradientCall, selection: Selection, objective: Objective) -> Iterator[_Row]:
    _check_loop(call, _MOST_LOOPED_ROWS, "where it must go row by row")
    parameters = [model.parameters[name] for name in selection.parameters]
    batch = model.leaf(call)
    for index in range(call.input.shape[0]):
        leaf = batch[index : index + 1].requires_grad_(selection.input)
        output = model.run(leaf, training=call.training)
        leaves = [*parameters, leaf] if selection.input else parameters
        value, found = objective.row(index).gradients(output, leaves)
        if selection.input:
            found = (*found[:-1], found[-1][0])
        yield _Row(value.detach(), output.detach(), found)


def _from_one_graph(model: Model, call: GradientCall, selection: Selection, objective: Objective) -> Iterator[_Row]:
    _check_loop(call, _MOST_ROWS_OF_ONE_GRAPH, "where random layers draw one mask for the batch")
    parameters = [model.parameters[name] for name in selection.parameters]
    batch = model.leaf(call).requires_grad_(selection.input)
    outputs = model.run(batch, training=call.training)
    leaves = [*parameters, batch] if selection.input else parameters
    for index in range(call.input.shape[0]):
        output = outputs[index : index + 1]
        value, found = objective.row(index).gradients(output, leaves, retain_graph=True)
        if selection.input:
            # A clone, as a view would keep the gradients of the whole batch.
            found = (*found[:-1], found[-1][index].clone())
        yield _Row(value.detach(), output.detach(), found)


def _check_loop(call: GradientCall, most: int, where: str) -> None:
    if (rows := call.input.shape[0]) > most:
        message = f"per_sample takes at most {most} rows {where}, got {rows}: send fewer at a time"
        raise ResourceExhausted(message, field="input.shape", reason="TOO_MANY_ROWS")


def _collected(rows: Iterator[_Row], model: Model, call: GradientCall, selection: Selection) -> Answer:
    sink, values, outputs = row_sink(call, model.dtype), [], []
    for row in rows:
        sink.take(row.gradients)
        # A value has one element, or for a row of the vector one for each of its elements.
        values.append(row.value.reshape(1) if call.grad_output is None else row.value)
        outputs.append(row.output)
    names = (*selection.parameters, INPUT)
    gradients = dict(zip(names, sink.gradients(), strict=False))
    return Answer(torch.cat(values), torch.cat(outputs), gradients, sink.norms())


def _no_rows(model: Model, call: GradientCall, selection: Selection, objective: Objective) -> Answer:
    with torch.no_grad():
        output = model.run(model.leaf(call), training=call.training)
        values = output.new_empty(0) if call.grad_output is None else objective.value(output)
    norms = None if call.per_sample_result in {None, PerSampleResult.FULL} else output.new_empty(0)
    parameters = {name: model.parameters[name].detach() for name in selection.parameters}
    match call.per_sample_result:
        case PerSampleResult.NORMS:
            return Answer(values, output, {}, norms)
        case PerSampleResult.CLIPPED_SUM:
            return Answer(values, output, {name: torch.zeros_like(own) for name, own in parameters.items()}, norms)
    found = {name: own.new_empty((0, *own.shape)) for name, own in parameters.items()}
    if selection.input:
        found[INPUT] = model.leaf(call)
    return Answer(values, output, found)
