"""The pendulum is swung up and held, along Jacobians of a model that has only seen random moments."""

from collections.abc import Iterator

import numpy as np
import pytest

import gradserve
from examples import model_predictive_control as example


@pytest.fixture(scope="module")
def controlled(client) -> Iterator[tuple[example.Array, example.Array]]:
    """States and torques of one run, to some time after the push."""
    model = gradserve.deploy(example.train(iterations=200), example.NAME, client)
    yield example.control(model, example.PUSHED_AT + 40)
    client.delete_model(example.NAME)


def test_it_swings_up_with_less_torque_than_would_hold_it_level(controlled):
    states, torques = controlled
    assert np.abs(states[example.PUSHED_AT, 0]) < np.radians(3)
    assert states[:, 0].max() > np.radians(200), "it swings back first"
    assert np.abs(torques).max() < example.GRAVITY


def test_it_recovers_from_a_push_that_the_model_knows_nothing_of(controlled):
    states, _ = controlled
    assert np.abs(states[example.PUSHED_AT :, 0]).max() > np.radians(5)
    assert np.abs(states[-1, 0]) < np.radians(3)
