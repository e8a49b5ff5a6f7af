"""Requests that are computed together: each is answered as if it had been the only one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

import grpc
import pytest
import torch
from hypothesis import strategies as st

from gradserve.v1 import model_pb2
from tests.properties.agreement import disagreements
from tests.properties.case import Case
from tests.properties.cases import forward_cases, gradient_cases
from tests.properties.effort import Effort
from tests.properties.losses import PAIRS, SEEDS
from tests.properties.sample import Sample
from tests.properties.stacks import KINDS
from tests.properties.wire import (
    Stubs,
    create_request,
    forward_request,
    freeze_request,
    gradient_request,
    read_forward,
    read_gradient,
)  # fmt: skip
from tests.support.oracle import Answer, RefusedError, forward, gradient
from tests.support.server import start_server

LONG_ENOUGH_TO_MEET = "batching.max_queue_delay=0.02"


@pytest.fixture(scope="module")
def batching_stubs() -> Iterator[Stubs]:
    """A server whose requests wait for each other, as they do where the device is busy."""
    with start_server("--set", LONG_ENOUGH_TO_MEET) as server, grpc.insecure_channel(server.target) as channel:
        stubs = Stubs.on(channel)
        torch.set_num_threads(stubs.models.GetServerInfo(model_pb2.GetServerInfoRequest(), timeout=20).num_threads)
        yield stubs


_CASES = (
    st.sampled_from(PAIRS).flatmap(gradient_cases)
    | gradient_cases(None)
    | st.sampled_from(list(KINDS)).flatmap(forward_cases)
)


@st.composite
def mixes(draw: st.DrawFn) -> list[list[Case]]:
    """Requests to a few models: several to each, of one kind and with values of their own, and Forwards among them."""
    cases = draw(st.lists(_CASES, min_size=1, max_size=3))
    return [[draw(_variations(case)) for _ in range(draw(st.integers(1, 6)))] for case in cases]


@st.composite
def _variations(draw: st.DrawFn, case: Case) -> Case:
    """The case with other values, and perhaps without what makes it a Gradient."""

    def other(sample: Sample | None) -> Sample | None:
        return None if sample is None else replace(sample, seed=draw(SEEDS))

    loss, grad_output = case.loss, other(case.grad_output)
    if loss is not None:
        loss = replace(loss, target=other(loss.target))
    if draw(st.integers(0, 3)) == 0:
        loss = grad_output = None
    deterministic = case.input.kind == "nonfinite" or draw(st.integers(0, 4)) == 0
    return replace(case, input=other(case.input), loss=loss, grad_output=grad_output, deterministic=deterministic)


def test_requests_of_many_models_shapes_and_options_at_once_are_answered_as_each_alone(
    batching_stubs: Stubs, effort: Effort
) -> None:
    def check(mix: list[list[Case]]) -> None:
        served = [(f"mix-{uuid4().hex}", cases) for cases in mix]
        for name, cases in served:
            _create(batching_stubs, cases[0], name)
        try:
            asked = [(case, _ask(batching_stubs, case, name)) for name, cases in served for case in cases]
            for case, future in asked:
                _check(case, future)
        finally:
            for name, _ in served:
                batching_stubs.models.DeleteModel(model_pb2.DeleteModelRequest(name=name), timeout=20)

    effort.run("batch mix", mixes(), check, effort.mixes)


def _create(stubs: Stubs, case: Case, name: str) -> None:
    stubs.models.CreateModel(create_request(case, name, "cpu"), timeout=20)
    if case.frozen:
        stubs.models.UpdateModel(freeze_request(case, name), timeout=20)


def _is_forward(case: Case) -> bool:
    return case.loss is None and case.grad_output is None


def _ask(stubs: Stubs, case: Case, name: str) -> grpc.Future:
    if _is_forward(case):
        return stubs.inference.Forward.future(forward_request(case, name), timeout=20)
    return stubs.inference.Gradient.future(gradient_request(case, name), timeout=20)


def _check(case: Case, future: grpc.Future) -> None:
    if (refusal := future.exception()) is not None:
        expected = _torch(case, 0)
        assert isinstance(expected, RefusedError), f"torch answers {expected}, the server refuses: {refusal}"
        return
    reply = (read_forward if _is_forward(case) else read_gradient)(future.result())
    expected = _torch(case, reply.seed or 0)
    assert isinstance(expected, Answer), f"the server answers {reply}, torch refuses: {expected}"
    wanted = expected if case.returns_output else replace(expected, output=reply.answer.output)
    assert list(disagreements(reply.answer, wanted, dtype=case.dtype, exact=case.deterministic)) == []


def _torch(case: Case, seed: int) -> Answer | RefusedError:
    try:
        return (forward if _is_forward(case) else gradient)(case.model("cpu"), case.question(seed))
    except RefusedError as refusal:
        return refusal
