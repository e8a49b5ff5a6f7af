"""Random requests of several callers, computed together by the engine, and each alone by torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from gradserve_server.engine.device import Device, Devices
from gradserve_server.errors import InvalidArgument, ServiceError, Unimplemented
from tests.properties import losses, stacks
from tests.properties.agreement import disagreements
from tests.properties.batches import Batch, forward_batches, gradient_batches
from tests.properties.case import Case
from tests.properties.effort import Effort
from tests.properties.in_process import answer_together
from tests.support.oracle import Answer, RefusedError, forward, gradient

# What torch advises of kl_div, and a server does not log.
pytestmark = pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")


@pytest.fixture(scope="module")
def cpu() -> Iterator[Device]:
    devices = Devices(threads=1)
    yield devices.resolve("cpu")
    devices.close()


@pytest.fixture(scope="module")
def sizes() -> Counter[int]:
    """How many batches of each size were computed."""
    return Counter()


@pytest.mark.parametrize("kind", stacks.KINDS)
def test_each_of_several_forwards_computed_together_is_that_of_torch_alone(
    cpu: Device, sizes: Counter[int], effort: Effort, kind: str
) -> None:
    batches = forward_batches(kind)
    effort.run(f"together {kind}", batches, lambda batch: check(batch, cpu, sizes), effort.forward_cases // 2)


@pytest.mark.parametrize("pair", losses.PAIRS, ids=str)
def test_each_of_several_gradients_computed_together_is_that_of_torch_alone(
    cpu: Device, sizes: Counter[int], effort: Effort, pair: losses.Pair
) -> None:
    batches = gradient_batches(pair)
    effort.run(f"together {pair}", batches, lambda batch: check(batch, cpu, sizes), effort.gradient_cases // 2)


def test_most_of_the_requests_were_computed_together(sizes: Counter[int]) -> None:
    """Stands behind the tests that it counts."""
    requests = sum(size * count for size, count in sizes.items())

    assert requests - sizes[1] > 0.6 * requests


def check(batch: Batch, cpu: Device, sizes: Counter[int]) -> None:
    answers = answer_together(batch.cases, cpu)
    sizes.update(answers.together)
    for case, actual in zip(batch.cases, answers.answers, strict=True):
        check_one(case, actual)


def check_one(case: Case, actual: Answer | ServiceError) -> None:
    expected = ask_torch(case)
    if isinstance(expected, RefusedError):
        # Of two faults torch tells the one that it meets first, and the engine that of the shapes.
        kinds = (Unimplemented, InvalidArgument) if expected.no_kernel else InvalidArgument
        assert isinstance(actual, kinds), f"{expected}: {actual!r}"
        return
    assert isinstance(actual, Answer), f"torch answers {expected}, the engine refuses: {actual!r}"
    wanted = expected if case.returns_output else replace(expected, output=actual.output)
    if case.input.kind == "nonfinite":
        # Some of torch's derivatives lose a NaN in one memory layout and keep it in another; the others of the batch
        # are there to show that it stays where it is.
        assert shapes(actual) == shapes(expected)
        wanted = replace(wanted, gradients=actual.gradients)
    found = list(disagreements(actual, wanted, dtype=case.dtype, exact=False))
    assert not found, "\n".join([*found, f"in the answer to {case}"])


def shapes(answer: Answer) -> dict[str, torch.Size]:
    return {name: gradient.shape for name, gradient in answer.gradients.items()}


def ask_torch(case: Case) -> Answer | RefusedError:
    compute = gradient if case.loss or case.grad_output else forward
    try:
        return compute(case.model("cpu"), case.question())
    except RefusedError as refusal:
        return refusal
