"""The samples have the moments of the posterior, which a sum over a grid tells."""

from collections.abc import Iterator

import numpy as np
import pytest

import gradserve
from examples import hamiltonian_monte_carlo as example


@pytest.fixture(scope="module")
def model(client) -> Iterator[gradserve.Model]:
    yield gradserve.deploy(example.train(iterations=200), example.NAME, client)
    client.delete_model(example.NAME)


def test_mean_and_standard_deviation_are_those_of_the_posterior(model):
    _, mean, deviation = example.posterior(model, np.linspace(-5, 5, 200, dtype="float32"))
    samples = example.sample(model, steps=50).places.reshape(-1, 2)
    np.testing.assert_allclose(samples.mean(axis=0), mean, atol=0.1)
    np.testing.assert_allclose(samples.std(axis=0), deviation, rtol=0.15)


def test_nearly_every_step_is_accepted(model):
    """With wrong gradients the moments would still be right: of ones that are 30 % too small, it accepts 92 %."""
    assert example.sample(model, steps=10).accepted > 0.95
