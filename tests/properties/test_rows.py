"""Several vectors for one input, gradients of rows and Jacobians, by the server and by torch in this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.properties.comparison import Comparison
from tests.properties.effort import Effort, Tally
from tests.properties.jacobians import MODES, ask_jacobian, jacobian_cases
from tests.properties.options import RESULTS, result_cases, vector_cases
from tests.properties.sample import FLOATS
from tests.properties.wire import Stubs, ask_gradient
from tests.support.jacobian_oracle import jacobian
from tests.support.oracle import gradient

# What torch advises of kl_div, and a server does not log.
pytestmark = pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")


@pytest.fixture(scope="module")
def options_tally(device: str, report: list[str]) -> Iterator[Tally]:
    """The count of the cases of Gradient on one device, printed at the end of the session."""
    tally = Tally(f"Gradient with several vectors or results of rows on {device}")
    yield tally
    report.extend(tally.table())


@pytest.fixture(scope="module")
def jacobian_tally(device: str, report: list[str]) -> Iterator[Tally]:
    """The count of the cases of Jacobian on one device, printed at the end of the session."""
    tally = Tally(f"Jacobian on {device}")
    yield tally
    report.extend(tally.table())


def test_the_gradients_for_several_vectors_are_those_of_torch_in_process(
    stubs: Stubs, device: str, effort: Effort, options_tally: Tally
) -> None:
    comparison = Comparison(stubs, device, ask_gradient, gradient, options_tally)

    effort.run("several vectors", vector_cases(_dtypes(device)), comparison.check, 2 * effort.vector_cases)


@pytest.mark.parametrize("result", RESULTS)
def test_what_becomes_of_the_gradients_of_rows_is_what_torch_makes_of_them_in_process(
    stubs: Stubs, device: str, effort: Effort, options_tally: Tally, result: str
) -> None:
    comparison = Comparison(stubs, device, ask_gradient, gradient, options_tally)

    effort.run(f"rows {result}", result_cases(result, _dtypes(device)), comparison.check, effort.vector_cases)


@pytest.mark.parametrize("mode", MODES)
def test_the_jacobian_of_each_row_is_that_of_torch_in_process(
    stubs: Stubs, device: str, effort: Effort, jacobian_tally: Tally, mode: str
) -> None:
    comparison = Comparison(stubs, device, ask_jacobian, jacobian, jacobian_tally)

    effort.run(f"Jacobian {mode}", jacobian_cases(mode, _dtypes(device)), comparison.check, effort.vector_cases)


def test_the_cases_of_jacobian_held_every_choice_often_enough(
    device: str, effort: Effort, jacobian_tally: Tally
) -> None:
    """Stands behind the tests that it counts."""
    expected = [("option", "training"), ("option", "deterministic"), ("option", "not deterministic")]

    # Some layers are rare among so many.
    assert jacobian_tally.rare((effort.floor + 1) // 2, [*expected, *(("mode", mode) for mode in MODES)]) == {}


def _dtypes(device: str) -> tuple[str, ...]:
    # Metal has no float64.
    return tuple(dtype for dtype in FLOATS if (device, dtype) != ("mps", "float64"))
