"""The handle's derivatives beside gradients: torch's numbers, in the kind of the caller's input."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd.functional import hvp, jacobian, jvp
from torch.nn import functional

import gradserve
from gradserve.torch import RemoteModule
from tests.support.either_client import either_client

pytestmark = either_client

X = torch.linspace(-1, 1, 8, dtype=torch.float64).reshape(2, 4)
TANGENT = torch.linspace(0, 2, 8, dtype=torch.float64).reshape(2, 4)
TARGET = torch.linspace(1, 2, 6, dtype=torch.float64).reshape(2, 3)


@pytest.fixture(scope="module")
def model(client: gradserve.Client, client_kind: str) -> Iterator[gradserve.Model]:
    """A smooth network of four features."""
    mlp = gradserve.MLP(4, [5], 3, activation="Tanh")
    made = client.create_model(f"differentiated-{client_kind}", mlp, seed=2, dtype="float64", device="cpu")
    yield made
    client.delete_model(made.name)


@pytest.fixture(scope="module")
def layers(target: str, model: gradserve.Model) -> nn.Module:
    """The same in process."""
    return RemoteModule(target, model.name).layers


def loss(layers: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return functional.mse_loss(layers(x), TARGET)


class TestNumbers:
    def test_jvp_is_torchs(self, model: gradserve.Model, layers: nn.Module):
        output, product = jvp(layers, X, TANGENT)
        j = model.jvp(X, TANGENT, return_output=True)
        torch.testing.assert_close((j.output, j.jvp), (output, product))
        assert (j.version, j.seed) == (1, None)

    def test_several_directions_give_several_products(self, model: gradserve.Model, layers: nn.Module):
        products = model.jvp(X, torch.stack([TANGENT, -TANGENT]), is_tangents_batched=True).jvp
        product = jvp(layers, X, TANGENT)[1]
        torch.testing.assert_close(products, torch.stack([product, -product]))

    @pytest.mark.parametrize("mode", ["auto", "reverse", "forward"])
    def test_jacobian_is_torchs_row_by_row(self, model: gradserve.Model, layers: nn.Module, mode: Any):
        j = model.jacobian(X, mode=mode, chunk_size=2, return_output=True)
        torch.testing.assert_close(j.input, torch.stack([jacobian(layers, row) for row in X]))
        torch.testing.assert_close(j.output, layers(X).detach())

    def test_hvp_is_torchs(self, model: gradserve.Model, layers: nn.Module):
        value, product = hvp(lambda x: loss(layers, x), X, TANGENT)
        h = model.hvp(X, TARGET, TANGENT, loss="mse_loss", return_gradients=True)
        torch.testing.assert_close((h.loss, h.input), (value, product))
        torch.testing.assert_close(h.gradients["input"], jacobian(lambda x: loss(layers, x), X))

    def test_several_vectors_give_gradients_of_their_own(self, model: gradserve.Model):
        g = model.gradient(X, grad_output=torch.stack([TARGET, 2 * TARGET]), is_grads_batched=True, wrt="input")
        torch.testing.assert_close(g.input[1], 2 * g.input[0])

    def test_rows_have_norms_and_a_clipped_sum(self, model: gradserve.Model):
        each = model.gradient(X, TARGET, loss="mse_loss", per_sample=True)
        norms = torch.stack(
            [torch.cat([gradient[row].flatten() for gradient in each.values()]).norm() for row in (0, 1)]
        )
        only = model.gradient(X, TARGET, loss="mse_loss", per_sample=True, per_sample_result="norms")
        torch.testing.assert_close(only.norms, norms)
        assert len(only) == 0
        clipped = model.gradient(
            X, TARGET, loss="mse_loss", per_sample=True, per_sample_result="clipped_sum", max_norm=0.1
        )
        scale = (0.1 / (norms + 1e-6)).clamp(max=1)
        torch.testing.assert_close(clipped["layers.0.bias"], scale @ each["layers.0.bias"])


class TestNames:
    def test_directions_may_be_named(self, model: gradserve.Model):
        bias = np.ones(3)
        np.testing.assert_allclose(model.jvp(X.numpy(), {"layers.2.bias": bias}).jvp, np.ones((2, 3)))
        h = model.hvp(X.numpy(), None, {"layers.2.bias": bias}, grad_output=TARGET, wrt=["layers.*", "input"])
        assert list(h) == ["layers.0.weight", "layers.0.bias", "layers.2.weight", "layers.2.bias", "input"]

    def test_jacobians_are_of_what_is_named(self, model: gradserve.Model):
        j = model.jacobian(X.numpy(), wrt="*.bias")
        assert {name: array.shape for name, array in j.items()} == {
            "layers.0.bias": (2, 3, 5),
            "layers.2.bias": (2, 3, 3),
        }
        assert repr(j) == "Jacobians(of=['layers.0.bias', 'layers.2.bias'], version=1)"


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
def test_all_that_comes_back_is_of_the_inputs_kind(model: gradserve.Model, kind: Any):
    x, vector = kind(X), TANGENT.tolist()
    j = model.jvp(x, vector, return_output=True)
    h = model.hvp(x, TARGET, vector, loss="mse_loss", return_gradients=True)
    jacobians = model.jacobian(x, return_output=True)
    arrays = [j.jvp, j.output, h.loss, h.input, h.gradients["input"], jacobians.input, jacobians.output]
    assert {type(array) for array in arrays} == {type(x)}


class TestRefused:
    @pytest.mark.parametrize(
        ("method", "arguments", "field"),
        [
            ("jvp", {"x": X, "tangent": X[0]}, "tangents[input].shape"),
            ("jvp", {"x": X, "tangent": {"layers.9.weight": X}}, "tangents[layers.9.weight]"),
            ("jvp", {"x": X, "tangent": {"input": np.zeros(2, complex)}}, "tangents[input].dtype"),
            ("hvp", {"x": X, "target": None, "vector": X}, "loss"),
            ("hvp", {"x": X, "target": None, "vector": {"input": ["a"]}, "loss": "sum"}, "vectors[input].dtype"),
            ("jacobian", {"x": X, "mode": "sideways"}, "mode"),
            ("jacobian", {"x": X, "chunk_size": 2**31}, "chunk_size"),
            ("jacobian", {"x": X, "wrt": "layers.9"}, "wrt[0]"),
            ("gradient", {"x": X, "loss": "sum", "per_sample_result": "median"}, "per_sample_result"),
            ("check_gradients", {"x": X, "target": TARGET}, "loss"),
            ("check_gradients", {"seed": 2**63}, "seed"),
        ],
    )
    def test_a_wrong_argument_is_named_wherever_it_is_found(
        self, model: gradserve.Model, method: str, arguments: Mapping[str, Any], field: str
    ):
        with pytest.raises(gradserve.InvalidArgumentError) as caught:
            getattr(model, method)(**arguments)
        assert [violation.field for violation in caught.value.field_violations] == [field]

    @pytest.mark.parametrize("method", ["jvp", "jacobian", "hvp"])
    def test_another_version_than_expected(self, model: gradserve.Model, method: str):
        arguments: dict[str, tuple[Any, ...]] = {"jvp": (X, X), "jacobian": (X,), "hvp": (X, TARGET, X)}
        more = {"loss": "mse_loss"} if method == "hvp" else {}
        with pytest.raises(gradserve.FailedPreconditionError, match="version 1, not 2"):
            getattr(model, method)(*arguments[method], if_version=2, **more)

    @pytest.mark.parametrize("name", ["output", "loss", "norms", "input"])
    def test_what_was_not_asked_for(self, model: gradserve.Model, name: str):
        with pytest.raises(AttributeError, match=name):
            getattr(model.gradient(X, grad_output=TARGET), name)


class TestCheckGradients:
    def test_a_right_model_passes(self, model: gradserve.Model):
        checked = model.check_gradients(X, TARGET, loss="mse_loss", seed=3)
        assert checked.passed
        assert (checked.version, checked.seed) == (1, 3)
        assert {check.name for check in checked.checks} == {"taylor", "finite_differences", "adjoint", "hvp_symmetry"}
        assert {check.wrt for check in checked.checks} == {"input", "parameters"}
        taylor = next(check for check in checked.checks if check.name == "taylor")
        assert taylor.value > taylor.threshold
        assert [remainder.step for remainder in taylor.remainders] == sorted(
            (remainder.step for remainder in taylor.remainders), reverse=True
        )

    def test_it_needs_no_arguments(self, model: gradserve.Model):
        assert model.check_gradients().passed

    def test_what_has_no_such_derivative_is_left_out_and_says_so(self, client: gradserve.Client):
        client.create_model("hard", gradserve.MLP(4, [5], 3, activation="Hardsigmoid"), device="cpu")
        checks = client.model("hard").check_gradients().checks
        client.delete_model("hard")
        assert "Hardsigmoid" in next(check.skipped_reason for check in checks if check.name == "hvp_symmetry")
