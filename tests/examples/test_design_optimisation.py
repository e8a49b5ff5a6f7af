"""The design that is found on the surrogate is a minimum of the true response."""

import numpy as np
import pytest

from examples import design_optimisation as example


@pytest.fixture(scope="module")
def descents(client) -> list[example.Descent]:
    """Three, the best first. No model is left behind."""
    before = client.list_models()
    found = example.optimise(client, iterations=300, starts=3)
    assert client.list_models() == before
    return found


def test_the_best_descent_ends_at_a_known_minimum_of_the_true_response(descents):
    design = descents[0].path[-1]
    assert min(np.linalg.norm(example.MINIMA - example.physical(design), axis=1)) < 0.5
    assert abs(example.branin(design) - 0.3979) < 0.3


def test_every_descent_goes_downhill_on_the_true_response(descents):
    for descent in descents:
        start, end = example.branin(descent.path[[0, -1]])
        assert end < start
