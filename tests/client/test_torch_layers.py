"""Layers from torch.nn's modules and from torch's functions: the table is the server's, and each computes the same."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import gradserve
from gradserve.torch._functions import _FUNCTIONS
from gradserve.torch._layers import LAYERS, layer_of
from gradserve.torch._tracing import chain

X = torch.linspace(-3, 3, 24).reshape(4, 6)

# Each class with arguments that are not its defaults, and with each default that reads in a way of its own.
MODULES = [
    nn.AlphaDropout(0.1),
    nn.BatchNorm1d(6, eps=0.1, momentum=0.3),
    nn.BatchNorm1d(6, affine=False, track_running_stats=False),
    nn.CELU(0.5),
    nn.Dropout(0.1),
    nn.ELU(0.5, inplace=True),
    nn.FeatureAlphaDropout(0.1),
    nn.Flatten(-1, 1),
    nn.GELU("tanh"),
    nn.GLU(),
    nn.GroupNorm(2, 6, eps=0.1, affine=False),
    nn.GroupNorm(3, 6),
    nn.Hardshrink(0.1),
    nn.Hardsigmoid(),
    nn.Hardswish(inplace=True),
    nn.Hardtanh(-0.5, 2.0),
    nn.Identity(54, unused=True),
    nn.LayerNorm(6, eps=0.1, bias=False),
    nn.LayerNorm([6], elementwise_affine=False),
    nn.LeakyReLU(0.2),
    nn.Linear(6, 2),
    nn.Linear(6, 2, bias=False),
    nn.LogSigmoid(),
    nn.LogSoftmax(dim=-1),
    nn.Mish(),
    nn.PReLU(6, init=0.1),
    nn.RMSNorm(6, eps=0.1),
    nn.RMSNorm(6),
    nn.RReLU(0.1, 0.2),
    nn.ReLU(inplace=True),
    nn.ReLU6(),
    nn.SELU(),
    nn.SiLU(),
    nn.Sigmoid(),
    nn.Softmax(dim=-1),
    nn.Softmin(dim=-1),
    nn.Softplus(2.0, 3.0),
    nn.Softshrink(0.1),
    nn.Softsign(),
    nn.Tanh(),
    nn.Tanhshrink(),
    nn.Threshold(0.1, 7.0),
]

CALLS: dict[str, Callable[[Tensor], Tensor]] = {
    "alpha_dropout": lambda x: functional.alpha_dropout(x, 0.2),
    "celu": lambda x: functional.celu(x, 0.5),
    "celu of torch": lambda x: torch.celu(x, 0.5),
    "dropout": lambda x: functional.dropout(x, training=False),
    "elu": functional.elu,
    "elu with an argument": lambda x: functional.elu(x, alpha=0.5),
    "feature_alpha_dropout": lambda x: functional.feature_alpha_dropout(x, 0.2),
    "flatten": lambda x: torch.flatten(x, 1),
    "flatten by name": lambda x: torch.flatten(x, start_dim=1),
    "flatten of a tensor": lambda x: x.flatten(1),
    "gelu": functional.gelu,
    "gelu with an argument": lambda x: functional.gelu(x, approximate="tanh"),
    "glu": functional.glu,
    "hardshrink": lambda x: functional.hardshrink(x, 1.0),
    "hardshrink of a tensor": lambda x: x.hardshrink(1.0),
    "hardsigmoid": functional.hardsigmoid,
    "hardswish": functional.hardswish,
    "hardtanh": lambda x: functional.hardtanh(x, -0.5, 2.0),
    "leaky_relu": lambda x: functional.leaky_relu(x, 0.2),
    "log_sigmoid": functional.logsigmoid,
    "log_softmax": lambda x: functional.log_softmax(x, -1),
    "mish": functional.mish,
    "relu": functional.relu,
    "relu in place": lambda x: functional.relu(x, inplace=True),
    "relu of torch": torch.relu,
    "relu of a tensor": lambda x: x.relu(),
    "relu_ of a tensor": lambda x: x.clone().relu_() if isinstance(x, Tensor) else x.relu_(),
    "relu6": functional.relu6,
    "rrelu": lambda x: functional.rrelu(x, 0.1, 0.3),
    "selu": torch.selu,
    "sigmoid": torch.sigmoid,
    "sigmoid by name": lambda x: torch.sigmoid(input=x),
    "silu": functional.silu,
    "softmax": lambda x: functional.softmax(x, dim=-1),
    "softmax of a tensor": lambda x: x.softmax(-1),
    "softmin": lambda x: functional.softmin(x, -1),
    "softplus": lambda x: functional.softplus(x, 2.0),
    "softshrink": functional.softshrink,
    "softsign": functional.softsign,
    "tanh": torch.tanh,
    "tanh of a tensor": lambda x: x.tanh(),
    "tanhshrink": functional.tanhshrink,
    "threshold": lambda x: functional.threshold(x, 0.1, 7.0),
}


class Calling(nn.Module):
    """A module that calls one function."""

    def __init__(self, call: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        """Call it."""
        return self.call(x)


def built(layer: gradserve.Layer) -> nn.Module:
    """Return the module that a server builds of a layer."""
    module: nn.Module = getattr(nn, layer.type)(**layer.arguments)
    return module


def test_the_layers_are_those_of_the_server(client: gradserve.Client):
    assert sorted(kind.__name__ for kind in LAYERS) == list(client.server_info().layer_types)


def test_every_layer_has_a_case():
    assert {type(module) for module in MODULES} == LAYERS


@pytest.mark.parametrize("module", MODULES, ids=repr)
def test_a_server_builds_the_same_module_again(client: gradserve.Client, module: nn.Module):
    layer = layer_of(module, "it")
    model = client.create_model("built", gradserve.Sequential([layer]), device="cpu")
    client.delete_model("built")
    again = built(layer)
    if hasattr(again, "inplace"):
        again.inplace = module.inplace
    assert repr(again) == repr(module)
    assert {name: tensor.shape for name, tensor in again.state_dict().items()} == {
        name: tensor.shape for name, tensor in module.state_dict().items()
    }
    assert model.name == "built"


def test_every_function_has_a_case():
    assert {name.partition(" ")[0].strip("_") for name in CALLS} == _FUNCTIONS.keys()


@pytest.mark.parametrize("name", CALLS)
def test_the_layer_of_a_call_computes_what_the_call_does(name: str):
    call = CALLS[name]
    (step,) = chain(Calling(call))
    torch.testing.assert_close(built(step.layer).eval()(X.clone()), call(X.clone()))
