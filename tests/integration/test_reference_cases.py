"""The cases that must always hold, through the client: one can check them by hand, or beside torch in process."""

from collections.abc import Iterator

import ml_dtypes
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional

import gradserve
from tests.support.either_client import either_client

pytestmark = either_client

FLOATING = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32, "float64": np.float64}
SHAPES = [(), (5,), (4, 5), (2, 3, 5)]
MLP_NAMES = [f"layers.{index}.{kind}" for index in (0, 2, 4) for kind in ("weight", "bias")]


@pytest.fixture(scope="module", autouse=True)
def as_many_threads_as_the_server(client: gradserve.Client) -> Iterator[None]:
    """Bits are compared, and the order in which a sum is formed depends on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(client.server_info().num_threads)
    yield
    torch.set_num_threads(before)


def local_mlp(seed: int) -> nn.Sequential:
    """The MLP 50-30-20-3 as its users would build it."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(50, 30), nn.ReLU(), nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 3))


@pytest.fixture(scope="module")
def g(client: gradserve.Client) -> gradserve.Gradients[np.ndarray]:
    """The gradients of logistic-regression at x = 1.1 and y = 1."""
    model = client.model("logistic-regression")
    return model.gradient([[1.1]], [[1.0]], loss="binary_cross_entropy", wrt=["*", "input"])


@pytest.fixture(scope="module", params=[0, 123, 2**53 - 1, -1])
def seed(request: pytest.FixtureRequest) -> int:
    """What the weights are drawn from."""
    return request.param


@pytest.fixture(scope="module")
def model(client: gradserve.Client, seed: int) -> Iterator[gradserve.Model]:
    """The MLP, created from that seed while the server runs."""
    name = f"reference{seed}"
    yield client.create_model(name, gradserve.MLP(50, [30, 20], 3), seed=seed, device="cpu")
    client.delete_model(name)


@pytest.fixture(scope="module", params=FLOATING)
def identity(client: gradserve.Client, request: pytest.FixtureRequest) -> Iterator[gradserve.Model]:
    """A model that returns what it gets, for each floating dtype."""
    name = f"identity-reference-{request.param}"
    layers = gradserve.Sequential([gradserve.Layer("Identity")])
    yield client.create_model(name, layers, dtype=request.param, device="cpu")
    client.delete_model(name)


@pytest.fixture
def dtype(identity: gradserve.Model) -> np.dtype:
    """The model's dtype, for numpy."""
    return np.dtype(FLOATING[identity.name.rpartition("-")[2]])


@pytest.fixture(scope="module")
def held_out() -> tuple[np.ndarray, np.ndarray]:
    """The images that digits was not trained on, and what they show."""
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels / 16).astype(np.float32)
    _, held_out, _, digits = train_test_split(images, labels, test_size=0.25, stratify=labels, random_state=0)
    return held_out, digits


class TestLogisticRegression:
    """One input, one output, Sigmoid: w = 2.2, b = 0."""

    def test_its_output_is_sigmoid_of_2_42(self, client: gradserve.Client):
        assert client.model("logistic-regression")([[1.1]]).item() == pytest.approx(1 / (1 + np.exp(-2.42)), abs=1e-6)

    def test_the_gradient_by_the_weight_is_minus_0_0898(self, g):
        assert round(g["layers.0.weight"].item(), 4) == -0.0898

    def test_the_gradient_by_the_bias_is_minus_0_0817(self, g):
        assert round(g["layers.0.bias"].item(), 4) == -0.0817

    def test_the_gradient_by_the_input_is_the_bias_gradient_times_the_weight(self, g):
        assert g.input.item() == pytest.approx(2.2 * g["layers.0.bias"].item(), rel=1e-6)

    def test_the_gradients_have_the_shapes_of_what_they_belong_to(self, g):
        assert {name: gradient.shape for name, gradient in g.items()} == {
            "layers.0.weight": (1, 1),
            "layers.0.bias": (1,),
            "input": (1, 1),
        }


class TestMLP:
    """The MLP 50-30-20-3 with ReLU."""

    def test_the_bundled_one_has_2213_trainable_parameters(self, client: gradserve.Client):
        assert client.model("mlp-50-30-20-3").info().trainable_parameters == 2213

    def test_its_parameters_have_the_names_and_shapes_of_a_state_dict(self, model: gradserve.Model):
        state = nn.ModuleDict({"layers": local_mlp(0)}).state_dict()
        served = {name: parameter.shape for name, parameter in model.named_parameters()}
        assert served == {name: tuple(value.shape) for name, value in state.items()}
        assert list(served) == MLP_NAMES

    def test_the_bundled_one_is_drawn_from_seed_0(self, client: gradserve.Client):
        local, x = local_mlp(0), torch.randn(16, 50)
        assert torch.equal(client.model("mlp-50-30-20-3")(x, deterministic=True), local(x))

    def test_its_outputs_are_torchs_to_the_bit(self, model: gradserve.Model, seed: int):
        local, x = local_mlp(seed), torch.randn(16, 50)
        assert torch.equal(model(x, deterministic=True), local(x))

    def test_its_gradients_are_torchs_to_the_bit(self, model: gradserve.Model, seed: int):
        local, x, target = local_mlp(seed), torch.randn(16, 50), torch.randint(3, (16,))
        expected = torch.autograd.grad(functional.cross_entropy(local(x), target), list(local.parameters()))
        g = model.gradient(x, target, loss="cross_entropy", deterministic=True)
        assert list(g) == MLP_NAMES
        assert all(torch.equal(g[name], gradient) for name, gradient in zip(MLP_NAMES, expected, strict=True))

    def test_the_weights_themselves_are_torchs_to_the_bit(self, client: gradserve.Client, seed: int):
        """A unit vector times the Jacobian of a Linear layer is one row of its weight; at 0 its output is its bias."""
        layer = gradserve.Layer("Linear", in_features=50, out_features=30)
        model = client.create_model(f"linear{seed}", gradserve.Sequential([layer]), seed=seed, device="cpu")
        rows = model.gradient(torch.zeros(30, 50), grad_output=torch.eye(30), wrt="input").input
        bias = model(torch.zeros(50))
        client.delete_model(model.name)
        torch.manual_seed(seed)
        local = nn.Linear(50, 30)
        assert torch.equal(rows, local.weight)
        assert torch.equal(bias, local.bias)


class TestTensors:
    """Every rank from 0 to 3 and every floating dtype, through a model that returns what it gets."""

    @pytest.mark.parametrize("shape", SHAPES)
    def test_a_numpy_array_comes_back_as_it_was(self, identity: gradserve.Model, dtype: np.dtype, shape):
        x = np.random.default_rng(1).normal(size=shape).astype(dtype)
        y = identity(x)
        assert (y.dtype, y.shape, y.tobytes()) == (x.dtype, x.shape, x.tobytes())

    @pytest.mark.parametrize("shape", SHAPES)
    def test_a_torch_tensor_comes_back_as_it_was(self, identity: gradserve.Model, dtype: np.dtype, shape):
        x = torch.randn(shape, dtype=getattr(torch, dtype.name))
        y = identity(x)
        assert y.dtype == x.dtype
        assert torch.equal(y, x)

    @pytest.mark.parametrize("x", [1.5, [1.5, -2.0], [[1.5], [-2.0]], [[[1.5, -2.0]]]], ids=["0", "1", "2", "3"])
    def test_nested_lists_become_what_torch_tensor_makes_of_them(self, client: gradserve.Client, x):
        model = client.create_model("identity-lists", gradserve.Sequential([gradserve.Layer("Identity")]), device="cpu")
        y = model(x)
        client.delete_model("identity-lists")
        assert y.dtype == np.float32
        assert torch.equal(torch.from_numpy(y), torch.tensor(x))

    @pytest.mark.parametrize("axes", [(0, 2, 1), (2, 1, 0), (1, 2, 0)])
    def test_a_transposed_array_arrives_as_it_reads_not_as_it_lies(self, identity: gradserve.Model, dtype, axes):
        x = np.arange(24).reshape(2, 3, 4).astype(dtype).transpose(axes)
        assert not x.flags.c_contiguous
        assert np.array_equal(identity(x), x)

    def test_a_transposed_tensor_arrives_as_it_reads_not_as_it_lies(self, identity: gradserve.Model, dtype: np.dtype):
        x = torch.arange(24).reshape(4, 6).to(getattr(torch, dtype.name)).T
        assert not x.is_contiguous()
        assert torch.equal(identity(x), x)

    @pytest.mark.parametrize("step", [2, -1])
    def test_a_sliced_array_arrives_as_it_reads_not_as_it_lies(self, identity: gradserve.Model, dtype, step):
        x = np.arange(12).reshape(3, 4).astype(dtype)[:, ::step]
        assert np.array_equal(identity(x), x)


class TestDigits:
    """The bundled model that reads handwritten digits."""

    def test_it_reads_at_least_97_percent_of_the_images_that_it_has_never_seen(self, client, held_out):
        images, digits = held_out
        assert len(images) == 450
        assert (client.model("digits")(images).argmax(axis=1) == digits).mean() >= 0.97

    def test_its_gradient_by_the_image_points_to_higher_loss(self, client, held_out):
        model, (images, digits) = client.model("digits"), held_out
        g = model.gradient(images, digits, loss="cross_entropy", wrt="input")
        farther = images + 0.1 * g.input / np.linalg.norm(g.input)
        assert model.gradient(farther, digits, loss="cross_entropy", wrt="input").loss > g.loss
