"""The model handle: what torch gives in process, in the kind of the caller's input."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import gradserve
from tests.support.either_client import either_client
from tests.support.no_pickle.sitecustomize import pickled_copy

pytestmark = either_client

PARAMETERS = [f"layers.{index}.{name}" for index in (0, 2, 4) for name in ("weight", "bias")]
TARGET = torch.tensor([0, 1, 2, 0])


@pytest.fixture(scope="module")
def model(client: gradserve.Client, client_kind: str) -> Iterator[gradserve.Model]:
    """A classifier of 50 features, with weights drawn from seed 7."""
    made = client.create_model(f"handled-{client_kind}", gradserve.MLP(50, [30, 20], 3), seed=7)
    yield made
    client.delete_model(made.name)


@pytest.fixture(scope="module")
def local() -> nn.Module:
    """The same in process."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        layers = nn.Sequential(nn.Linear(50, 30), nn.ReLU(), nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 3))
    return nn.ModuleDict({"layers": layers})


@pytest.fixture
def changing(client: gradserve.Client) -> Iterator[gradserve.Model]:
    """A model that a test may change."""
    yield client.create_model("changing", gradserve.MLP(2, [4], 1), seed=0)
    client.delete_model("changing")


@pytest.fixture
def x() -> torch.Tensor:
    return torch.linspace(-1, 1, 4 * 50).reshape(4, 50)


def forward(local: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return the local model's output."""
    return local.get_submodule("layers")(x)


class TestForward:
    def test_a_seed_gives_the_weights_that_torch_draws_from_it(
        self, model: gradserve.Model, local: nn.Module, x: torch.Tensor
    ):
        torch.testing.assert_close(model.forward(x, deterministic=True), forward(local, x).detach())

    def test_calling_the_handle_is_forward(self, model: gradserve.Model, x: torch.Tensor):
        torch.testing.assert_close(model(x), model.forward(x))

    @pytest.mark.parametrize(
        ("given", "kind"),
        [
            (np.zeros((2, 50), np.float32), np.ndarray),
            (torch.zeros(2, 50), torch.Tensor),
            (nn.Parameter(torch.zeros(2, 50)), torch.Tensor),
            ([[0.0] * 50] * 2, np.ndarray),
        ],
        ids=["numpy", "torch", "a torch parameter", "lists"],
    )
    def test_the_output_is_of_the_inputs_kind(self, model: gradserve.Model, given: Any, kind: type):
        y = model(given)
        assert type(y) is kind
        assert tuple(y.shape) == (2, 3)

    def test_the_output_may_be_written_to(self, model: gradserve.Model):
        y = model(np.zeros((1, 50), np.float32))
        y += 1
        assert y.flags.owndata

    def test_a_torch_output_has_no_history(self, model: gradserve.Model, x: torch.Tensor):
        assert not model(x.requires_grad_()).requires_grad

    def test_a_transposed_array_means_what_it_says(self, model: gradserve.Model, x: torch.Tensor):
        columns = np.asfortranarray(x.numpy())
        np.testing.assert_array_equal(
            model.forward(columns, deterministic=True), model.forward(x.numpy(), deterministic=True)
        )

    @pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64"])
    @pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 0, 3)], ids=str)
    def test_an_identity_gives_every_floating_dtype_and_rank_back(
        self, client: gradserve.Client, name: str, shape: tuple[int, ...]
    ):
        dtype = np.dtype(getattr(ml_dtypes, name, None) or name)
        identity = client.create_model("identity", gradserve.Sequential([gradserve.Layer("Identity")]), dtype=dtype)
        try:
            given = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
            y = identity(given)
        finally:
            client.delete_model("identity")
        assert (y.dtype, y.shape, y.tobytes()) == (given.dtype, shape, given.tobytes())

    def test_the_same_seed_gives_the_same_dropout(self, client: gradserve.Client):
        digits = client.model("digits")
        pixels = np.ones((3, 64), np.float32)
        first, again, other = (digits.forward(pixels, training=True, seed=seed) for seed in (5, 5, 6))
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)

    def test_another_version_than_expected_is_refused(self, model: gradserve.Model, x: torch.Tensor):
        with pytest.raises(gradserve.FailedPreconditionError) as caught:
            model.forward(x, if_version=2)
        assert caught.value.reason == "VERSION_MISMATCH"


class TestRefused:
    @pytest.mark.parametrize(
        ("x", "field"),
        [
            (np.zeros((1, 50), complex), "input.dtype"),
            (np.zeros((1, 50), np.int64), "input.dtype"),
            ([[1.0], [2.0, 3.0]], "input.shape"),
            (np.zeros((1, 49), np.float32), "input.shape"),
        ],
        ids=["complex", "integers", "ragged", "49 features"],
    )
    def test_a_wrong_input_is_one_error_wherever_it_is_found(self, model: gradserve.Model, x: Any, field: str):
        with pytest.raises(gradserve.InvalidArgumentError) as caught:
            model(x)
        assert [violation.field for violation in caught.value.field_violations] == [field]

    @pytest.mark.parametrize(
        ("arguments", "field"),
        [
            ({"target": TARGET}, "loss"),
            ({"reduction": "sum"}, "loss"),
            ({"loss_kwargs": {}}, "loss"),
            ({}, "loss"),
            ({"loss": "cross_entropy", "target": np.array(["a"])}, "loss.target.dtype"),
            (
                {"loss": "cross_entropy", "target": TARGET, "loss_kwargs": {"weight": [1j]}},
                "loss.arguments[weight].dtype",
            ),
            ({"grad_output": np.zeros((4, 3), complex)}, "grad_output.dtype"),
            ({"loss": "sum", "seed": 2**63}, "seed"),
            ({"loss": "sum", "if_version": -(2**63) - 1}, "if_version"),
        ],
        ids=str,
    )
    def test_a_wrong_argument_is_named(
        self, model: gradserve.Model, x: torch.Tensor, arguments: dict[str, Any], field: str
    ):
        with pytest.raises(gradserve.InvalidArgumentError) as caught:
            model.gradient(x, **arguments)
        assert [violation.field for violation in caught.value.field_violations] == [field]

    def test_a_model_that_is_gone_is_not_found(self, client: gradserve.Client):
        with pytest.raises(gradserve.NotFoundError, match="gone"):
            client.model("gone")([1.0])


class TestGradient:
    def test_the_loss_and_its_gradients_are_those_of_backward(
        self, model: gradserve.Model, local: nn.Module, x: torch.Tensor
    ):
        leaves = dict(local.named_parameters())
        loss = functional.cross_entropy(forward(local, x), TARGET, label_smoothing=0.1)
        expected = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
        g = model.gradient(x, TARGET, loss="cross_entropy", loss_kwargs={"label_smoothing": 0.1})
        torch.testing.assert_close(g.loss, loss.detach())
        torch.testing.assert_close(dict(g), expected)

    def test_gradients_come_in_the_order_of_named_parameters_and_the_input_last(
        self, model: gradserve.Model, x: torch.Tensor
    ):
        g = model.gradient(x, loss="sum", wrt=["input", "layers.*"])
        assert list(g) == [*(name for name, _ in model.named_parameters()), "input"] == [*PARAMETERS, "input"]

    @pytest.mark.parametrize(
        "value",
        [[1.0, 2.0, 3.0], np.array([1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, 3.0])],
        ids=["list", "numpy", "torch"],
    )
    def test_an_argument_of_a_loss_may_be_an_array(
        self, model: gradserve.Model, local: nn.Module, x: torch.Tensor, value: Any
    ):
        g = model.gradient(x, TARGET, loss="cross_entropy", loss_kwargs={"weight": value}, reduction="sum")
        expected = functional.cross_entropy(forward(local, x), TARGET, torch.tensor([1.0, 2.0, 3.0]), reduction="sum")
        torch.testing.assert_close(g.loss, expected.detach())

    @pytest.mark.parametrize("index", [2, np.int64(2)], ids=["int", "numpy integer"])
    def test_an_argument_of_a_loss_may_be_a_number(self, model: gradserve.Model, x: torch.Tensor, index: Any):
        ignoring = model.gradient(x, TARGET, loss="cross_entropy", loss_kwargs={"ignore_index": index})
        rest = model.gradient(x[TARGET != 2], TARGET[TARGET != 2], loss="cross_entropy")
        torch.testing.assert_close(ignoring.loss, rest.loss)

    def test_a_flag_of_a_loss_is_sent_as_a_flag(self, model: gradserve.Model, local: nn.Module, x: torch.Tensor):
        target = torch.full((4, 3), 2.0)
        g = model.gradient(x, target, loss="poisson_nll_loss", loss_kwargs={"log_input": True, "full": True})
        torch.testing.assert_close(g.loss, functional.poisson_nll_loss(forward(local, x), target, full=True).detach())

    def test_a_vector_jacobian_product_has_no_loss(self, model: gradserve.Model, local: nn.Module, x: torch.Tensor):
        v = torch.ones(4, 3)
        leaf = x.clone().requires_grad_()
        (expected,) = torch.autograd.grad(forward(local, leaf), leaf, v)
        g = model.gradient(x, grad_output=v, wrt="input")
        torch.testing.assert_close(g.input, expected)
        with pytest.raises(AttributeError, match="the call named none"):
            _ = g.loss

    def test_the_output_is_there_if_asked_for(self, model: gradserve.Model, x: torch.Tensor):
        torch.testing.assert_close(model.gradient(x, loss="sum", return_output=True).output, model(x))
        with pytest.raises(AttributeError, match="return_output=True"):
            _ = model.gradient(x, loss="sum").output

    def test_the_gradient_of_the_input_is_there_if_asked_for(self, model: gradserve.Model, x: torch.Tensor):
        g = model.gradient(x, loss="sum", wrt="layers.0.*")
        assert list(g) == PARAMETERS[:2]
        with pytest.raises(AttributeError, match='wrt="input"'):
            _ = g.input

    def test_per_sample_gives_a_gradient_for_each_row(self, model: gradserve.Model, x: torch.Tensor):
        g = model.gradient(x, TARGET, loss="cross_entropy", wrt="layers.4.bias", per_sample=True)
        rows = [model.gradient(x[i : i + 1], TARGET[i : i + 1], loss="cross_entropy") for i in range(4)]
        torch.testing.assert_close(g["layers.4.bias"], torch.stack([row["layers.4.bias"] for row in rows]))
        assert g.loss.shape == (4,)

    def test_it_is_a_mapping_that_shows_what_it_holds(self, client: gradserve.Client):
        g = client.model("logistic-regression").gradient([[1.1]], [[1.0]], loss="binary_cross_entropy")
        assert isinstance(g, Mapping)
        assert len(g) == 2
        assert g["layers.0.weight"].item() == pytest.approx(-0.0898, abs=5e-5)
        assert g["layers.0.bias"].item() == pytest.approx(-0.0817, abs=5e-5)
        assert repr(g).startswith("Gradients(loss=array(0.085")
        assert repr(g).endswith("of=['layers.0.weight', 'layers.0.bias'], version=1)")

    def test_two_results_are_equal_only_if_they_are_one(self, model: gradserve.Model, x: torch.Tensor):
        first, second = (model.gradient(x, loss="sum") for _ in range(2))
        assert first == first  # noqa: PLR0124 - that is the point
        assert first != second
        assert len({first, second}) == 2


class TestInfo:
    def test_tells_what_torch_would(self, model: gradserve.Model, local: nn.Module):
        info = model.info()
        expected = [(name, tuple(parameter.shape)) for name, parameter in local.named_parameters()]
        assert [(parameter.name, parameter.shape) for parameter in info.named_parameters] == expected
        assert info.total_parameters == info.trainable_parameters == 2213
        assert (info.name, info.dtype, info.version, info.seed, info.serving) == (model.name, "float32", 1, 7, True)
        assert "(0): Linear(in_features=50, out_features=30, bias=True)" in info.text
        assert info.create_time.utcoffset() is not None

    def test_the_architecture_makes_the_same_model_again(self, client: gradserve.Client, x: torch.Tensor):
        layers = [
            gradserve.Layer("LayerNorm", normalized_shape=[50], eps=np.float64(0.5)),
            gradserve.Layer("GELU", approximate="tanh"),
            gradserve.Layer("Linear", in_features=50, out_features=np.int64(2), bias=False),
        ]
        original = client.create_model("original", gradserve.Sequential(layers), seed=1)
        again = client.create_model("again", original.info().architecture, seed=1)
        try:
            assert original.info().architecture == again.info().architecture
            torch.testing.assert_close(again(x), original(x))
        finally:
            client.delete_model("original")
            client.delete_model("again")

    def test_is_a_plain_value(self, model: gradserve.Model):
        info = model.info()
        assert pickled_copy(info) == info
        assert dataclasses.asdict(info)["architecture"]["layers"][1] == {"type": "ReLU", "arguments": {}}

    def test_the_handle_shows_its_name_and_server(self, model: gradserve.Model, target: str):
        assert repr(model) == f"<gradserve.Model '{model.name}' at {target}>"


class TestChanges:
    @pytest.mark.parametrize("dtype", ["float64", np.dtype(np.float64), torch.float64], ids=["name", "numpy", "torch"])
    def test_to_converts_to_a_dtype_under_a_new_version(self, changing: gradserve.Model, dtype: Any):
        version = changing.info().version
        assert changing.to(dtype=dtype) is changing
        assert (changing.info().dtype, changing.info().version) == ("float64", version + 1)

    @pytest.mark.parametrize("device", ["cpu", torch.device("cpu")], ids=["name", "torch"])
    def test_to_moves_to_a_device_under_the_same_version(self, changing: gradserve.Model, device: Any):
        version = changing.info().version
        assert changing.to(device) is changing
        assert (changing.info().device, changing.info().version) == ("cpu", version)

    def test_to_a_device_that_is_not_there_is_refused(self, changing: gradserve.Model):
        with pytest.raises(gradserve.FailedPreconditionError, match="cuda:99"):
            changing.to("cuda:99")

    def test_to_nothing_is_refused(self, changing: gradserve.Model):
        with pytest.raises(gradserve.InvalidArgumentError):
            changing.to()

    def test_a_write_that_expects_another_version_is_aborted(self, changing: gradserve.Model):
        with pytest.raises(gradserve.AbortedError):
            changing.to(dtype="float64", if_version=changing.info().version + 1)

    def test_frozen_parameters_have_no_gradient_until_they_are_freed(self, changing: gradserve.Model):
        def gradients() -> list[str]:
            # Several times, as the server remembers what was asked before.
            asked = [list(changing.gradient([[1.0, 2.0]], loss="sum")) for _ in range(4)]
            assert asked[1:] == asked[:-1]
            return asked[0]

        every = gradients()
        assert changing.requires_grad_("layers.0.*", False) is changing
        assert gradients() == ["layers.2.weight", "layers.2.bias"] == every[2:]
        assert changing.info().trainable_parameters == 5
        changing.requires_grad_()
        assert gradients() == every
        assert all(parameter.requires_grad for _, parameter in changing.named_parameters())
