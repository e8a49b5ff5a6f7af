"""Gradient checks of random models, whose derivatives are right: none may fail."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from gradserve_server.engine.checks import gradient_check
from gradserve_server.engine.device import Device, Devices
from gradserve_server.engine.tensors import to_numpy
from gradserve_server.errors import ServiceError
from gradserve_server.operations.calls import CheckGradientsCall
from gradserve_server.operations.results import CheckGradientsResult
from tests.properties import stacks
from tests.properties.case import Case
from tests.properties.cases import forward_cases
from tests.properties.effort import Effort
from tests.properties.in_process import model_of


@pytest.fixture(scope="module")
def cpu() -> Iterator[Device]:
    devices = Devices(threads=1)
    yield devices.resolve("cpu")
    devices.close()


@pytest.mark.parametrize("kind", stacks.KINDS)
def test_no_check_fails_where_every_derivative_is_right(cpu: Device, effort: Effort, kind: str) -> None:
    effort.run(f"checks {kind}", forward_cases(kind), lambda case: check(case, cpu), effort.forward_cases // 2)


def check(case: Case, cpu: Device) -> None:
    sample = replace(case.input, kind="normal")
    try:
        model = model_of(case, cpu)
        work = gradient_check.prepare(model, CheckGradientsCall(to_numpy(sample.tensor()), seed=case.weights_seed))
    except ServiceError:
        # Of no rows there is nothing to check, and some layers take no single one.
        return
    (result,) = gradient_check.compute(model, [work])

    assert isinstance(result, CheckGradientsResult), result
    assert [found for found in result.checks if not found.passed] == []
