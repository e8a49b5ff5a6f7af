"""Losses as functions of the input: the numbers of torch in process, in the hands of scipy."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch.nn import functional

import gradserve
from gradserve.torch import RemoteModule
from tests.support.metrics import Scrape, scrape, scrape_until
from tests.support.server import RunningServer

ROW = np.linspace(-1, 1, 4)
TARGET = np.array([0.2, -0.1, 0.3])


@pytest.fixture(scope="module")
def model(client: gradserve.Client) -> Iterator[gradserve.Model]:
    """A smooth network of four features in float64."""
    mlp = gradserve.MLP(4, [6], 3, activation="Tanh")
    yield client.create_model("objective", mlp, seed=3, dtype="float64", device="cpu")
    client.delete_model("objective")


@pytest.fixture(scope="module")
def layers(client: gradserve.Client, model: gradserve.Model) -> torch.nn.Module:
    """The same in process."""
    return RemoteModule(client, model.name).layers


class TestNumbers:
    @pytest.mark.parametrize("shape", [(-1,), (2, 2, 4), (4, 4)], ids=str)
    def test_they_are_torchs_in_float64(self, model: gradserve.Model, layers: torch.nn.Module, shape: tuple[int, ...]):
        x = np.linspace(-1, 1, 4 if shape == (-1,) else 16)
        p = np.cos(x)
        target = np.resize(TARGET, (*x.reshape(shape).shape[:-1], 3))
        objective = gradserve.Objective(
            model, "huber_loss", target, loss_kwargs={"delta": 0.2}, reduction="sum", shape=shape
        )

        def loss(x: torch.Tensor) -> torch.Tensor:
            return functional.huber_loss(layers(x), torch.from_numpy(target), "sum", delta=0.2)

        x_torch = torch.from_numpy(x.reshape(shape))
        value, product = torch.autograd.functional.hvp(loss, x_torch, torch.from_numpy(p.reshape(shape)))
        (gradient,) = torch.autograd.grad(loss(x_torch.requires_grad_()), x_torch)
        assert objective.fun(x) == pytest.approx(value.item(), rel=1e-12)
        np.testing.assert_allclose(objective.jac(x), gradient.flatten(), rtol=1e-12)
        np.testing.assert_allclose(objective.hessp(x, p), product.flatten(), rtol=1e-12)
        assert type(objective.fun(x)) is float

    def test_a_float32_model_gives_float64_vectors(self, client: gradserve.Client):
        objective = gradserve.Objective(client.model("mlp-50-30-20-3"), "mean")
        x = np.zeros(50)
        assert {objective.jac(x).dtype, objective.hessp(x, x).dtype} == {np.dtype("f8")}

    def test_a_vector_of_another_size_is_refused(self, model: gradserve.Model):
        with pytest.raises(ValueError, match=r"input\.shape: "):
            gradserve.Objective(model, "mean").fun(np.zeros(5))

    def test_another_version_than_expected_is_refused(self, model: gradserve.Model):
        with pytest.raises(gradserve.FailedPreconditionError):
            gradserve.Objective(model, "mean", if_version=2).hessp(ROW, ROW)


class TestCalls:
    def gradients(self, scraped: Scrape) -> float:
        return scraped.value(
            "grpc_server_handled_total",
            grpc_type="unary",
            grpc_service="gradserve.v1.InferenceService",
            grpc_method="Gradient",
            grpc_code="OK",
        )

    def test_value_and_gradient_of_one_input_come_in_one_call(self, server: RunningServer, model: gradserve.Model):
        objective = gradserve.Objective(model, "mse_loss", TARGET)
        model.gradient(ROW, loss="sum")
        before = self.gradients(scrape(server.http))
        x = ROW.copy()
        objective.fun(x)
        objective.jac(x)
        x += 1
        objective.jac(x)
        objective.fun(x)
        scrape_until(server.http, lambda scraped: self.gradients(scraped) >= before + 2)
        model.gradient(ROW, loss="sum")
        assert self.gradients(scrape_until(server.http, lambda s: self.gradients(s) >= before + 3)) == before + 3

    def test_what_is_kept_is_not_the_callers(self, model: gradserve.Model):
        objective = gradserve.Objective(model, "mse_loss", TARGET)
        x = ROW.copy()
        first = objective.jac(x)
        first[:] = 0
        assert objective.jac(x).all()
        x += 1
        assert objective.fun(x) == gradserve.Objective(model, "mse_loss", TARGET).fun(ROW + 1)


@pytest.mark.parametrize("method", ["BFGS", "L-BFGS-B", "Newton-CG", "trust-ncg"])
def test_scipy_finds_an_input_that_gives_an_output(model: gradserve.Model, method: str):
    wanted = model(np.array([0.5, -0.5, 0.3, 0.1]))
    objective = gradserve.Objective(model, "mse_loss", wanted)
    hessp = None if "BFGS" in method else objective.hessp
    found = minimize(objective, np.zeros(4), jac=True, hessp=hessp, method=method, tol=1e-9)
    assert found.fun < 1e-8
    np.testing.assert_allclose(model(found.x), wanted, atol=1e-3)
