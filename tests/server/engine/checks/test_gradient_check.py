"""Gradient checks of models with right derivatives, and of models whose engine has been given a wrong one."""

import numpy as np
import pytest
import torch
from torch import nn

from gradserve_server.engine.checks import gradient_check
from gradserve_server.engine.network import rules
from gradserve_server.engine.network.derivatives import DERIVATIVES
from gradserve_server.errors import InvalidArgument, ResourceExhausted
from gradserve_server.operations.calls import CheckGradientsCall, LossCall

FIRST, LAST = ("Linear", {"in_features": 6, "out_features": 5}), ("Linear", {"in_features": 5, "out_features": 3})
NAMES = ["taylor", "finite_differences", "adjoint", "hvp_symmetry"]
SMOOTH = (FIRST, "Tanh", LAST)


def ask(model, **options):
    call = CheckGradientsCall(np.empty(0), seed=0, has_input=False, **options)
    (result,) = gradient_check.compute(model, [gradient_check.prepare(model, call)])
    return result


def failed(result):
    return {(check.name, check.wrt) for check in result.checks if not check.passed}


def test_every_check_is_made_of_the_input_and_of_the_parameters(model_of):
    result = ask(model_of(*SMOOTH))

    assert [(check.name, check.wrt) for check in result.checks] == [
        (name, wrt) for wrt in ("input", "parameters") for name in NAMES
    ]
    assert failed(result) == set()
    assert all(1.9 < check.value < 2.1 for check in result.checks if check.name == "taylor")
    assert [len(check.remainders) for check in result.checks[:2]] == [6, 0]


def test_a_derivative_that_is_wrong_by_a_twentieth_fails(model_of, monkeypatch):
    right = DERIVATIVES[nn.Tanh]
    monkeypatch.setitem(DERIVATIVES, nn.Tanh, lambda layer: lambda *given: 1.05 * right(layer)(*given))
    result = ask(model_of(*SMOOTH))

    assert {(name, "input") for name in ("taylor", "finite_differences", "adjoint")} <= failed(result)
    assert ("adjoint", "parameters") in failed(result)


def test_gradients_of_weights_that_are_wrong_by_a_twentieth_fail(model_of, monkeypatch):
    right = rules.LinearRule.grad_parameters

    def wrong(self, *given):
        return {name: 1.05 * gradient for name, gradient in right(self, *given).items()}

    monkeypatch.setattr(rules.LinearRule, "grad_parameters", wrong)
    result = ask(model_of(*SMOOTH))

    assert failed(result) == {(name, "parameters") for name in ("taylor", "finite_differences", "adjoint")}


def test_zeros_in_the_input_are_no_fault_though_they_lie_on_kinks(model_of):
    model = model_of("ReLU", FIRST, "ReLU", LAST)
    work = gradient_check.prepare(model, CheckGradientsCall(np.zeros((4, 6)), seed=0))
    (result,) = gradient_check.compute(model, [work])

    assert failed(result) == set()


def test_roundings_that_a_normalisation_of_single_values_makes_much_of_are_no_fault(model_of):
    model = model_of("Identity", ("GroupNorm", {"num_groups": 33, "num_channels": 33}))
    for seed in range(20):
        x = np.random.default_rng(seed).normal(size=(2, 33))
        work = gradient_check.prepare(model, CheckGradientsCall(x, seed=seed))
        (result,) = gradient_check.compute(model, [work])

        assert failed(result) == set()


def test_what_torch_has_no_second_derivative_of_is_left_out_and_said(model_of):
    result = ask(model_of(FIRST, "Hardsigmoid", LAST))
    reasons = {check.name: check.skipped_reason for check in result.checks}

    assert failed(result) == set()
    assert "layers.1, Hardsigmoid()" in reasons["hvp_symmetry"]
    assert not reasons["adjoint"]


def test_a_loss_may_be_checked_too(model_of):
    target = np.arange(8) % 3
    result = ask(model_of(*SMOOTH, dtype="float16"), loss=LossCall("cross_entropy", target))

    assert failed(result) == set()


def test_the_model_is_as_it_was(model_of):
    model = model_of(*SMOOTH, dtype="float64")
    before = {name: parameter.detach().clone() for name, parameter in model.parameters.items()}
    generator = torch.get_rng_state()

    ask(model)

    assert all(torch.equal(before[name], parameter) for name, parameter in model.parameters.items())
    assert all(parameter.grad is None for parameter in model.parameters.values())
    assert torch.equal(generator, torch.get_rng_state())


def test_the_same_seed_draws_the_same_directions(model_of):
    model = model_of(*SMOOTH)

    assert ask(model).checks == ask(model).checks


@pytest.mark.parametrize(("rows", "refusal"), [(0, InvalidArgument), (65, ResourceExhausted)])
def test_there_is_a_row_and_not_too_many(model_of, rows, refusal):
    with pytest.raises(refusal, match="rows") as caught:
        gradient_check.prepare(model_of(*SMOOTH), CheckGradientsCall(np.zeros((rows, 6))))
    assert caught.value.field == "input.shape"
