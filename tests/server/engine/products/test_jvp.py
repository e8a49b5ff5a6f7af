"""Jacobian-vector products."""

import numpy as np
import pytest
import torch

from gradserve_server.engine.network.layers import LAYERS
from gradserve_server.engine.products import jvp
from gradserve_server.operations.calls import JvpCall

NEEDED = {
    "Linear": {"in_features": 4, "out_features": 2},
    "Threshold": {"threshold": 0.1, "value": 20.0},
    "BatchNorm1d": {"num_features": 4},
    "GroupNorm": {"num_groups": 2, "num_channels": 4},
    "LayerNorm": {"normalized_shape": 4},
    "RMSNorm": {"normalized_shape": 4},
}
X, V = (np.random.default_rng(seed).normal(size=(3, 4)) for seed in range(2))


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("kind", LAYERS)
def test_every_layer_has_the_products_of_its_transposed_jacobian(model_of, kind, training):
    """Both ways through the Jacobian tell the same number: u . (J v) = (J^T u) . v."""
    model = model_of((kind, NEEDED.get(kind, {})), dtype="float64")
    call = JvpCall(X, training, seed=0, tangents={"input": V}, return_output=True)
    (result,) = jvp.compute(model, [jvp.prepare(model, call)])

    u, x = np.sin(result.jvp), torch.from_numpy(X).requires_grad_()
    with model.computing("Gradient", call):
        (pulled,) = torch.autograd.grad(model.run(x, training=training), x, torch.from_numpy(u))
    np.testing.assert_allclose(np.vdot(u, result.jvp), np.vdot(pulled.numpy(), V))


@pytest.mark.parametrize("deterministic", [False, True], ids=["together", "one by one"])
@pytest.mark.parametrize("kind", ["Dropout", "RReLU", "BatchNorm1d"])
def test_several_directions_meet_the_same_masks_and_change_nothing(model_of, kind, deterministic):
    model = model_of((kind, NEEDED.get(kind, {})))
    before = {name: value.clone() for name, value in model.module.state_dict().items()}, torch.get_rng_state()
    options = {"training": True, "seed": 7, "deterministic": deterministic}

    def products(tangents, **more):
        (result,) = jvp.compute(
            model, [jvp.prepare(model, JvpCall(X, **options, tangents={"input": tangents}, **more))]
        )
        return result.jvp

    together = products(np.stack([V, X, V]), is_tangents_batched=True)
    np.testing.assert_allclose(together, np.stack([products(V), products(X), products(V)]), rtol=1e-5)
    assert all(torch.equal(before[0][name], value) for name, value in model.module.state_dict().items())
    assert torch.equal(before[1], torch.get_rng_state())
