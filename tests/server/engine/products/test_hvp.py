"""Products of vectors with Hessians."""

import numpy as np
import pytest
import torch
from torch.func import functional_call, jacrev

from gradserve_server.engine.products import hvp
from gradserve_server.errors import Unimplemented
from gradserve_server.operations.calls import HvpCall, LossCall

LINEAR = ("Linear", {"in_features": 3, "out_features": 2})
X, Y, V = (np.random.default_rng(seed).normal(size=shape) for seed, shape in enumerate([(4, 3), (4, 2), (2, 3)]))
WEIGHT = "layers.0.weight"


def ask(model, **options):
    (result,) = hvp.compute(model, [hvp.prepare(model, HvpCall(X, **options))])
    return result


def test_the_product_is_that_with_the_rows_of_the_whole_hessian(model_of):
    model = model_of(LINEAR, "Tanh", dtype="float64")

    def loss(x, weight):
        output = functional_call(model.module, {WEIGHT: weight}, (x,))
        return torch.nn.functional.mse_loss(output, torch.from_numpy(Y))

    point = torch.from_numpy(X), model.parameters[WEIGHT].detach()
    (_, of_input), (_, of_weight) = jacrev(jacrev(loss, argnums=(0, 1)), argnums=(0, 1))(*point)
    result = ask(model, loss=LossCall("mse_loss", Y), vectors={WEIGHT: V}, wrt=("*.weight", "input"))

    np.testing.assert_allclose(result.products["input"], np.einsum("nixy,xy->ni", of_input.detach(), V))
    np.testing.assert_allclose(result.products[WEIGHT], np.einsum("uvxy,xy->uv", of_weight.detach(), V))


@pytest.mark.parametrize("count", [None, 3])
def test_where_the_gradient_is_the_same_everywhere_the_product_is_zero(model_of, count):
    vectors = {WEIGHT: V if count is None else np.stack([V] * count)}
    result = ask(model_of(LINEAR), loss=LossCall("sum"), vectors=vectors, is_vectors_batched=count is not None)

    np.testing.assert_array_equal(result.products[WEIGHT], np.zeros_like(vectors[WEIGHT]))


def test_a_layer_without_a_second_derivative_in_torch_is_named(model_of):
    refusal = ask(model_of(LINEAR, "Tanh", "Hardsigmoid"), loss=LossCall("sum"), vectors={WEIGHT: V})

    assert isinstance(refusal, Unimplemented)
    assert "layers.2, Hardsigmoid()" in refusal.message


def test_what_does_not_pass_such_a_layer_twice_is_computed(model_of):
    model = model_of("Hardsigmoid", LINEAR, "Tanh")
    result = ask(model, loss=LossCall("mse_loss", Y), vectors={"layers.1.weight": V})

    assert np.count_nonzero(result.products["layers.1.weight"])


def test_a_loss_without_a_second_derivative_in_torch_is_named(model_of):
    loss = LossCall("multi_margin_loss", np.array([0, 1, 0, 1]))
    refusal = ask(model_of(LINEAR), loss=loss, vectors={WEIGHT: V})

    assert isinstance(refusal, Unimplemented)
    assert refusal.field == "loss.name"


def test_each_vector_gets_its_own_product_through_a_group_norm(model_of):
    """Torch's batching rule would give other numbers, and say nothing, where channels are as many as rows."""
    norm = ("GroupNorm", {"num_groups": 1, "num_channels": 2, "affine": False})
    x, vectors = np.random.default_rng(0).normal(size=(2, 2)), np.random.default_rng(1).normal(size=(3, 2, 2))
    model, loss = model_of(norm, dtype="float64"), LossCall("mse_loss", x)

    def products(**options):
        (result,) = hvp.compute(model, [hvp.prepare(model, HvpCall(x, loss=loss, **options))])
        return result.products["input"]

    each = [products(vectors={"input": vector}) for vector in vectors]
    np.testing.assert_allclose(products(vectors={"input": vectors}, is_vectors_batched=True), np.stack(each))


@pytest.mark.parametrize("count", [None, 3])
def test_a_leaf_that_the_gradient_does_not_depend_on_has_a_product_of_zeros(model_of, count):
    bias = np.ones((2,) if count is None else (count, 2))
    options = {"vectors": {"layers.0.bias": bias}, "is_vectors_batched": count is not None}
    result = ask(model_of(LINEAR), grad_output=Y, wrt=("*",), **options)

    assert {name: product.shape for name, product in result.products.items()} == {
        WEIGHT: bias.shape[:-1] + V.shape,
        "layers.0.bias": bias.shape,
    }
    assert not any(product.any() for product in result.products.values())


def test_a_second_derivative_that_is_zero_everywhere_is_zeros(model_of):
    result = ask(model_of("Identity"), loss=LossCall("l1_loss", X + 1), vectors={"input": X})

    np.testing.assert_array_equal(result.products["input"], np.zeros_like(X))
