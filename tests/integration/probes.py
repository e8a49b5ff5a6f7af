"""Requests whose answers torch has given beforehand, for tests that have no time to compute while they ask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from gradserve.v1 import inference_pb2, model_pb2
from tests.properties.agreement import disagreements
from tests.properties.case import Case, LossCase
from tests.properties.sample import Sample
from tests.properties.wire import create_request, decode, forward_request, gradient_request
from tests.support.oracle import Answer, Layer, forward, gradient


@dataclass(frozen=True)
class Probe:
    """A request to one model, and what torch answers to it."""

    case: Case
    request: inference_pb2.ForwardRequest | inference_pb2.GradientRequest
    expected: Answer

    def errors(self, reply: inference_pb2.ForwardResponse | inference_pb2.GradientResponse) -> list[str]:
        """What is wrong with a reply."""
        gradients = getattr(reply, "gradients", {})
        answer = Answer(
            output=decode(reply.output) if reply.HasField("output") else self.expected.output,
            loss=decode(reply.loss) if self.expected.loss is not None else None,
            gradients={name: decode(value) for name, value in gradients.items()},
        )
        return list(disagreements(answer, self.expected, dtype=self.case.dtype, exact=self.case.deterministic))


@dataclass(frozen=True)
class ProbedModel:
    """A model that is the same whenever it is created, and the probes of it."""

    name: str
    creation: model_pb2.CreateModelRequest
    probes: tuple[Probe, ...]


def probed_models(prefix: str, count: int, threads: int) -> list[ProbedModel]:
    """So many models of different weights, dtypes and layers, for a server of so many threads."""
    torch.set_num_threads(threads)
    return [_model(f"{prefix}-{number}", number) for number in range(count)]


def _model(name: str, number: int) -> ProbedModel:
    hidden = ("ReLU", "Tanh", "GELU", "SiLU")[number % 4]
    layers = (
        Layer("Linear", {"in_features": 6, "out_features": 8 + number}),
        *((Layer("BatchNorm1d", {"num_features": 8 + number}),) if number % 3 == 0 else ()),
        Layer(hidden),
        *((Layer("Dropout", {"p": 0.3}),) if number % 2 else ()),
        Layer("Linear", {"in_features": 8 + number, "out_features": 4}),
    )
    dtype = ("float32", "float32", "float64", "bfloat16")[number % 4]
    model = Case(layers, Sample("normal", (1, 6), "float32", 0), dtype, weights_seed=number)
    return ProbedModel(name, create_request(model, name, "cpu"), tuple(_probes(model, name)))


def _probes(model: Case, name: str) -> Iterator[Probe]:
    for rows in (1, 2, 7, 33):
        for deterministic in (False, True):
            asked = replace(model, input=Sample("normal", (rows, 6), "float32", rows), deterministic=deterministic)
            yield _forward_probe(asked, name)
            yield _gradient_probe(replace(asked, loss=_cross_entropy(rows), wrt=("*", "input")), name)
            yield _gradient_probe(replace(asked, loss=_mse(rows), wrt=("input",), per_sample=True), name)
            if rows > 1:
                random = replace(asked, training=True, seed=rows)
                yield _forward_probe(random, name)
                yield _gradient_probe(replace(random, loss=_mse(rows), return_output=True), name)


def _cross_entropy(rows: int) -> LossCase:
    return LossCase("cross_entropy", Sample("classes", (rows,), "int64", rows, classes=4))


def _mse(rows: int) -> LossCase:
    return LossCase("mse_loss", Sample("normal", (rows, 4), "float32", rows), "sum")


def _forward_probe(case: Case, name: str) -> Probe:
    return Probe(case, forward_request(case, name), forward(case.model("cpu"), case.question()))


def _gradient_probe(case: Case, name: str) -> Probe:
    return Probe(case, gradient_request(case, name), gradient(case.model("cpu"), case.question()))
