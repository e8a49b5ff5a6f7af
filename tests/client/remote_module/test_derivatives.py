"""What torch's own numerical checks say of a remote module, for every kind of layer."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call

from gradserve import Layer
from gradserve.torch import RemoteModule
from gradserve.torch._layers import LAYERS
from tests.client.remote_module.conftest import Make

ARGUMENTS = {
    "BatchNorm1d": {"num_features": 4},
    "GroupNorm": {"num_groups": 2, "num_channels": 4},
    "LayerNorm": {"normalized_shape": (4,)},
    "Linear": {"in_features": 4, "out_features": 3},
    "LogSoftmax": {"dim": -1},
    "PReLU": {"num_parameters": 4},
    "RMSNorm": {"normalized_shape": (4,)},
    "Softmax": {"dim": -1},
    "Softmin": {"dim": -1},
    "Threshold": {"threshold": 0.1, "value": 0.2},
}
IN_EVALUATION = [(Layer(kind.__name__, **ARGUMENTS.get(kind.__name__, {})), False) for kind in LAYERS]
IN_TRAINING = [
    (Layer("AlphaDropout", p=0.4), True),
    (Layer("BatchNorm1d", num_features=4, track_running_stats=False), True),
    (Layer("Dropout", p=0.4), True),
    (Layer("FeatureAlphaDropout", p=0.4), True),
    (Layer("RReLU"), True),
]
LAYERS_AND_MODES = sorted(IN_EVALUATION + IN_TRAINING, key=str)

# torch.func and forward mode use torch.jit, which torch itself has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

# torch has no second derivative of it: "derivative for aten::hardsigmoid_backward is not implemented".
WITHOUT_SECOND_DERIVATIVE = {"Hardsigmoid"}

Checked = Callable[..., torch.Tensor]


def function(module: nn.Module) -> tuple[Checked, tuple[torch.Tensor, ...]]:
    """A module as a function of its input and its parameters, and where to check it: away from kinks."""
    names = [name for name, _ in module.named_parameters()]
    torch.manual_seed(1)
    x = 1.5 * torch.randn(3, 4, dtype=torch.float64)
    parameters = [torch.rand_like(parameter) + 0.5 for parameter in module.parameters()]

    def call(x: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        # Layers that draw random numbers draw the same ones each time.
        torch.manual_seed(0)
        return functional_call(module, dict(zip(names, parameters, strict=True)), (x,))

    return call, tuple(tensor.requires_grad_() for tensor in (x, *parameters))


@pytest.fixture
def remote(make: Make, layer: Layer, training: bool) -> RemoteModule:  # noqa: FBT001 - a parameter of the test
    return make([layer]).train(training)


@pytest.mark.parametrize(("layer", "training"), LAYERS_AND_MODES, ids=str)
class TestEveryLayer:
    def test_gradients_pass_gradcheck(self, remote: RemoteModule):
        assert gradcheck(*function(remote))

    def test_forward_mode_passes_gradcheck(self, remote: RemoteModule):
        assert gradcheck(*function(remote), check_forward_ad=True, check_backward_ad=False)

    def test_second_derivatives_pass_gradgradcheck(self, remote: RemoteModule, layer: Layer):
        if layer.type in WITHOUT_SECOND_DERIVATIVE:
            with pytest.raises(RuntimeError, match="not implemented"):
                gradgradcheck(*function(remote.layers))
        else:
            assert gradgradcheck(*function(remote))
