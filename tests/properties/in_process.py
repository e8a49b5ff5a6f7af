"""Cases put to the engine in this process: as many at a time as it offers to compute together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from types import ModuleType

import torch

from gradserve_server import architecture
from gradserve_server.config import Limits
from gradserve_server.engine import forward
from gradserve_server.engine.building import build, move
from gradserve_server.engine.device import Device
from gradserve_server.engine.gradients import gradient
from gradserve_server.engine.model import Model
from gradserve_server.engine.tensors import to_numpy, to_torch
from gradserve_server.errors import ServiceError
from gradserve_server.operations.calls import ForwardCall, GradientCall, LossCall, PerSampleResult
from gradserve_server.operations.results import ForwardResult, GradientResult
from tests.properties.case import Case
from tests.support.oracle import Answer

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Answers:
    """What the engine makes of some cases.

    Attributes:
        answers: The answer to each, or its refusal.
        together: The sizes of the batches in which they were computed.
    """

    answers: Sequence[Answer | ServiceError]
    together: Sequence[int]


def answer_together(cases: Sequence[Case], device: Device) -> Answers:
    """Prepare all cases, which are of one model, and compute those together that have a key in common."""
    model = model_of(cases[0], device)
    found: dict[int, Answer | ServiceError] = {}
    batches: defaultdict[Hashable, list[int]] = defaultdict(list)
    operation = _operation(cases[0])
    works = {}
    for index, case in enumerate(cases):
        try:
            works[index] = operation.prepare(model, _call(case))
        except ServiceError as refusal:
            found[index] = refusal
        else:
            key = works[index].key
            batches[("alone", index) if key is None else key].append(index)
    for batch in batches.values():
        results = operation.compute(model, [works[index] for index in batch])
        found.update(zip(batch, map(_answer, results), strict=True))
    return Answers([found[index] for index in range(len(cases))], [len(batch) for batch in batches.values()])


def _operation(case: Case) -> ModuleType:
    return gradient if case.loss or case.grad_output else forward


def model_of(case: Case, device: Device) -> Model:
    """The case's model as the engine has it."""
    layers = tuple(architecture.Layer(layer.type, layer.arguments) for layer in case.layers)
    model = build(architecture.Architecture(layers), case.weights_seed, case.dtype, device, Limits())
    flags = {name: name not in case.frozen for name in model.requires_grad}
    return move(model, device, case.dtype, flags)


def _call(case: Case) -> ForwardCall:
    question = case.question()
    common = {
        "input": to_numpy(question.input),
        "training": question.training,
        "seed": question.seed,
        "deterministic": case.deterministic,
    }
    if _operation(case) is forward:
        return ForwardCall(**common)
    loss = None
    if question.loss is not None:
        arguments = {
            name: to_numpy(value) if isinstance(value, torch.Tensor) else value
            for name, value in question.loss.arguments.items()
        }
        target = None if question.loss.target is None else to_numpy(question.loss.target)
        loss = LossCall(question.loss.name, target, question.loss.reduction, arguments)
    vector = None if question.grad_output is None else to_numpy(question.grad_output)
    return GradientCall(
        **common,
        loss=loss,
        grad_output=vector,
        wrt=question.wrt,
        per_sample=case.per_sample,
        per_sample_result=PerSampleResult.__members__.get(case.per_sample_result),
        max_norm=case.max_norm,
        is_grads_batched=case.is_grads_batched,
        return_output=case.return_output,
    )


def _answer(result: ForwardResult | GradientResult | ServiceError) -> Answer | ServiceError:
    if isinstance(result, ServiceError):
        return result
    output = torch.empty(0) if result.output is None else to_torch(result.output, CPU)
    if isinstance(result, ForwardResult):
        return Answer(output)
    gradients = {name: to_torch(value, CPU) for name, value in result.gradients.items()}
    loss = None if result.loss is None else to_torch(result.loss, CPU)
    return Answer(output, loss, gradients, norms=None if result.norms is None else to_torch(result.norms, CPU))
