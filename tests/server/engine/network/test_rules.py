"""The rules of single layers, held against the layers themselves and autograd."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gradserve_server.architecture import Layer
from gradserve_server.engine.network.layers import LAYERS
from gradserve_server.engine.network.rules import rule_of

NEEDED = {
    "Linear": {"in_features": 6, "out_features": 4},
    "Threshold": {"threshold": 0.1, "value": 20.0},
    "BatchNorm1d": {"num_features": 6},
    "GroupNorm": {"num_groups": 2, "num_channels": 6},
    "LayerNorm": {"normalized_shape": 6},
    "RMSNorm": {"normalized_shape": 6},
}
# Values that tell one argument's default from another's.
UNUSUAL = {
    "CELU": {"alpha": 0.3},
    "ELU": {"alpha": 0.3},
    "GELU": {"approximate": "tanh"},
    "Hardshrink": {"lambd": 0.2},
    "Hardtanh": {"min_val": -0.4, "max_val": 0.9},
    "LeakyReLU": {"negative_slope": -0.3},
    "Linear": {"in_features": 6, "out_features": 4, "bias": False},
    "PReLU": {"num_parameters": 6, "init": 0.7},
    "Softplus": {"beta": 3.0, "threshold": 1.0},
    "Threshold": {"threshold": -0.5, "value": 2.0},
}
CASES = [*((name, NEEDED.get(name, {})) for name in LAYERS), *UNUSUAL.items()]


def module_of(name: str, arguments: dict[str, object]) -> nn.Module:
    kind = LAYERS[name]
    torch.manual_seed(0)
    module = kind.module(**kind.complete(Layer(name, arguments).arguments)).double()
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            # Away from zeros and ones, which would hide a factor.
            tensor.data.add_(torch.rand_like(tensor))
    return module


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=str)
def test_a_rule_gives_the_output_and_the_gradients_of_its_layer_in_evaluation(name, arguments):
    module = module_of(name, arguments)
    rule = rule_of(module, "layers.0", overwrites=False)
    value = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    expected = module.eval()(value)
    vector = torch.randn_like(expected)
    names = [f"layers.0.{key}" for key, _ in module.named_parameters()]
    wanted = torch.autograd.grad(expected, [value, *module.parameters()], vector)

    sent = value.detach()
    output = rule.forward(sent)
    found = rule.grad_parameters(vector, sent, set(names)) if names else {}

    torch.testing.assert_close(output, expected.detach())
    torch.testing.assert_close(rule.grad_input(vector, sent, output), wanted[0])
    torch.testing.assert_close([found[key] for key in names], list(wanted[1:]))


@pytest.mark.parametrize("name", ["ReLU", "Sigmoid", "Tanh"])
def test_a_rule_that_overwrites_its_input_gives_the_same_gradient(name):
    module = module_of(name, {})
    value, vector = torch.randn(5, 6), torch.randn(5, 6)
    kept, overwriting = (rule_of(module, "layers.0", overwrites=overwrites) for overwrites in (False, True))
    expected = kept.grad_input(vector, value, kept.forward(value))

    output = overwriting.forward(value)

    assert output is value
    torch.testing.assert_close(overwriting.grad_input(vector, value, output), expected)


@pytest.mark.parametrize("name", ["BatchNorm1d", "Dropout", "RReLU"])
def test_a_rule_is_of_evaluation_whatever_the_mode_of_the_module(name):
    module = module_of(name, NEEDED.get(name, {}))
    value = torch.randn(5, 6, dtype=torch.float64)
    expected = module.eval()(value)
    state = {key: tensor.clone() for key, tensor in module.state_dict().items()}

    output = rule_of(module.train(), "layers.0", overwrites=False).forward(value)

    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(module.state_dict(), state)
    assert module.training


def test_only_the_named_parameters_get_gradients():
    rule = rule_of(module_of("Linear", NEEDED["Linear"]), "layers.3", overwrites=False)
    value, vector = torch.randn(5, 6, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)

    assert set(rule.grad_parameters(vector, value, {"layers.3.bias"})) == {"layers.3.bias"}
    assert rule.parameters == {"layers.3.weight", "layers.3.bias"}
