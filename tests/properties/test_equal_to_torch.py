"""Random models and requests, answered by the server and by torch in this process."""

from __future__ import annotations

import pytest

from gradserve.v1 import model_pb2
from tests.properties import losses, stacks
from tests.properties.cases import forward_cases, gradient_cases, hvp_cases, jvp_cases
from tests.properties.comparison import Comparison
from tests.properties.effort import Effort, Tally
from tests.properties.sample import FLOATS
from tests.properties.wire import Stubs, ask_forward, ask_gradient
from tests.properties.wire_products import ask_hvp, ask_jvp
from tests.support.oracle import forward, gradient
from tests.support.product_oracle import hvp, jvp


def test_the_cases_hold_every_layer_type_of_the_server_and_no_other(
    server_info: model_pb2.GetServerInfoResponse,
) -> None:
    assert sorted(stacks.KINDS) == list(server_info.layer_types)


def test_the_cases_hold_every_loss_of_the_server_and_no_other(server_info: model_pb2.GetServerInfoResponse) -> None:
    assert sorted(losses.KINDS) == list(server_info.losses)


@pytest.mark.parametrize("kind", stacks.KINDS)
def test_forward_gives_the_numbers_of_torch_in_process(
    stubs: Stubs, device: str, effort: Effort, forward_tally: Tally, kind: str
) -> None:
    comparison = Comparison(stubs, device, ask_forward, forward, forward_tally)

    effort.run(kind, forward_cases(kind, _dtypes(device)), comparison.check, effort.forward_cases)


@pytest.mark.parametrize("pair", losses.PAIRS, ids=str)
def test_the_gradient_of_a_loss_is_that_of_torch_in_process(
    stubs: Stubs, device: str, effort: Effort, gradient_tally: Tally, pair: losses.Pair
) -> None:
    comparison = Comparison(stubs, device, ask_gradient, gradient, gradient_tally)

    effort.run(str(pair), gradient_cases(pair, _dtypes(device)), comparison.check, effort.gradient_cases)


def test_a_vector_jacobian_product_is_that_of_torch_in_process(
    stubs: Stubs, device: str, effort: Effort, gradient_tally: Tally
) -> None:
    comparison = Comparison(stubs, device, ask_gradient, gradient, gradient_tally)

    effort.run("grad_output", gradient_cases(None, _dtypes(device)), comparison.check, effort.vector_cases)


@pytest.mark.parametrize("kind", stacks.KINDS)
def test_a_jacobian_vector_product_is_that_of_torch_in_process(
    stubs: Stubs, device: str, effort: Effort, jvp_tally: Tally, kind: str
) -> None:
    comparison = Comparison(stubs, device, ask_jvp, jvp, jvp_tally)

    effort.run(f"jvp {kind}", jvp_cases(kind, _dtypes(device)), comparison.check, effort.jvp_cases)


@pytest.mark.parametrize("pair", losses.PAIRS, ids=str)
def test_a_hessian_vector_product_of_a_loss_is_that_of_torch_in_process(
    stubs: Stubs, device: str, effort: Effort, hvp_tally: Tally, pair: losses.Pair
) -> None:
    comparison = Comparison(stubs, device, ask_hvp, hvp, hvp_tally)

    effort.run(f"hvp {pair}", hvp_cases(pair, _dtypes(device)), comparison.check, effort.hvp_cases)


def test_a_hessian_vector_product_of_the_weighted_output_is_that_of_torch_in_process(
    stubs: Stubs, device: str, effort: Effort, hvp_tally: Tally
) -> None:
    comparison = Comparison(stubs, device, ask_hvp, hvp, hvp_tally)

    effort.run("hvp", hvp_cases(None, _dtypes(device)), comparison.check, effort.weighted_hvp_cases)


def test_the_cases_of_forward_held_every_choice_often_enough(device: str, effort: Effort, forward_tally: Tally) -> None:
    """Stands behind the tests that it counts."""
    assert forward_tally.rare(effort.floor, _layers_and_dtypes(device)) == {}


def test_the_cases_of_gradient_held_every_choice_often_enough(
    device: str, effort: Effort, gradient_tally: Tally
) -> None:
    """Stands behind the tests that it counts."""
    pairs = [("loss", str(pair)) for pair in losses.PAIRS]

    assert gradient_tally.rare(effort.floor, [*pairs, *_layers_and_dtypes(device)]) == {}


def test_the_cases_of_jvp_held_every_choice_often_enough(device: str, effort: Effort, jvp_tally: Tally) -> None:
    """Stands behind the tests that it counts."""
    assert jvp_tally.rare(effort.floor, _layers_and_dtypes(device)) == {}


def test_the_cases_of_hvp_held_every_choice_often_enough(device: str, effort: Effort, hvp_tally: Tally) -> None:
    """Stands behind the tests that it counts; what torch cannot differentiate twice it mostly refuses."""
    once = {("layer", "Hardsigmoid"), *(("loss", str(pair)) for pair in losses.PAIRS if "margin_loss" in pair.loss)}
    expected = {("loss", str(pair)) for pair in losses.PAIRS} | {("dtype", dtype) for dtype in _dtypes(device)}

    assert hvp_tally.rare(effort.floor, expected).keys() <= once


def _dtypes(device: str) -> tuple[str, ...]:
    # Metal has no float64.
    return tuple(dtype for dtype in FLOATS if (device, dtype) != ("mps", "float64"))


def _layers_and_dtypes(device: str) -> list[tuple[str, str]]:
    return [*(("layer", kind) for kind in stacks.KINDS), *(("dtype", dtype) for dtype in _dtypes(device))]
