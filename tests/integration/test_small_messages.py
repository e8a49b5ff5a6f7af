"""A server that takes only small messages: weights travel in chunks that fit."""

import numpy as np
import pytest

import gradserve
from tests.support.server import start_server


@pytest.mark.parametrize("limit", [65_536, 2**20])
def test_weights_larger_than_a_message_travel_both_ways(tmp_path, limit):
    with (
        start_server("--set", f"limits.max_message_bytes={limit}") as server,
        gradserve.Client(server.target) as client,
    ):
        model = client.create_model("a", gradserve.MLP(600, [600], 1), device="cpu")
        weights = {name: array + 1 for name, array in model.state_dict().items()}
        assert weights["layers.0.weight"].nbytes > limit
        model.load_state_dict(weights)
        assert all(np.array_equal(array, weights[name]) for name, array in model.state_dict().items())
        model.save_state_dict(tmp_path / "file")
        assert model.load_state_dict(tmp_path / "file").version == 3
