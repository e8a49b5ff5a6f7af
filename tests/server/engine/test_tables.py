"""The closed tables of layers and losses, held against torch itself."""

import inspect

import pytest
import torch
from torch import nn
from torch.nn import functional

from gradserve_server.architecture import Architecture, Layer
from gradserve_server.config import Limits
from gradserve_server.engine.losses.kinds import LOSSES
from gradserve_server.engine.network.layers import LAYERS
from gradserve_server.engine.network.mlp import check
from gradserve_server.errors import InvalidArgument, ServiceError

LIMITS = Limits()
# What every layer of torch takes, and the server decides; and what torch itself has deprecated.
NOT_OFFERED = {"self", "device", "dtype", "inplace", "args", "kwargs", "min_value", "max_value"}
BEFORE_ARGUMENTS = {"input", "target", "reduction", "size_average", "reduce"}

NEEDED = {
    "Linear": {"in_features": 3, "out_features": 2},
    "Threshold": {"threshold": 0.1, "value": 20.0},
    "BatchNorm1d": {"num_features": 3},
    "GroupNorm": {"num_groups": 1, "num_channels": 3},
    "LayerNorm": {"normalized_shape": 3},
    "RMSNorm": {"normalized_shape": 3},
}


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_a_layer_takes_the_arguments_of_torchs_constructor(name):
    signature = set(inspect.signature(getattr(nn, name).__init__).parameters)
    assert set(LAYERS[name].arguments) == signature - NOT_OFFERED


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_a_layer_without_arguments_has_torchs_defaults(name):
    needed = NEEDED.get(name, {})
    built = check(Architecture((Layer(name, needed),)), LIMITS).draw(0, torch.float32).layers[0]
    explicit = {"dim": -1} if name in {"Softmax", "Softmin", "LogSoftmax"} else {}
    assert repr(built) == repr(getattr(nn, name)(**needed, **explicit))


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"sum", "mean"}))
def test_a_loss_takes_the_arguments_of_torchs_function(name):
    signature = set(inspect.signature(getattr(functional, name)).parameters)
    assert set(LOSSES[name].arguments) == signature - BEFORE_ARGUMENTS


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"sum", "mean"}))
def test_the_required_arguments_of_a_loss_are_those_without_a_default(name):
    signature = inspect.signature(getattr(functional, name)).parameters
    required = {key for key, value in signature.items() if value.default is inspect.Parameter.empty}
    assert set(LOSSES[name].required) == required - BEFORE_ARGUMENTS


@pytest.mark.parametrize(
    ("layer", "argument"),
    [
        (Layer("Linear", {"in_features": 3}), "arguments"),
        (Layer("Linear", {"in_features": 3, "out_features": 0}), "arguments[out_features]"),
        (Layer("Linear", {"in_features": 3, "out_features": -1}), "arguments[out_features]"),
        (Layer("Linear", {"in_features": 3.0, "out_features": 1}), "arguments[in_features]"),
        (Layer("Linear", {"in_features": True, "out_features": 1}), "arguments[in_features]"),
        (Layer("Linear", {"in_features": 3, "out_features": 10**9}), "arguments[out_features]"),
        (Layer("Linear", {"in_features": 3, "out_features": 1, "bias": 1}), "arguments[bias]"),
        (Layer("Linear", {"in_features": 3, "out_features": 1, "device": "cpu"}), "arguments[device]"),
        (Layer("ReLU", {"inplace": True}), "arguments[inplace]"),
        (Layer("Dropout", {"p": 1.5}), "arguments"),
        (Layer("Hardtanh", {"min_val": 1.0}), "arguments"),
        (Layer("ELU", {"alpha": 10**400}), "arguments[alpha]"),
        (Layer("Dropout", {"p": float("nan")}), "arguments[p]"),
        (Layer("Dropout", {"p": "half"}), "arguments[p]"),
        (Layer("GELU", {"approximate": "cubic"}), "arguments[approximate]"),
        (Layer("Softmax", {"dim": 0}), "arguments[dim]"),
        (Layer("Softmax", {"dim": 1}), "arguments[dim]"),
        (Layer("Flatten", {"start_dim": 0}), "arguments[start_dim]"),
        (Layer("LayerNorm", {"normalized_shape": ()}), "arguments[normalized_shape]"),
        (Layer("LayerNorm", {"normalized_shape": (2, 0)}), "arguments[normalized_shape]"),
        (Layer("LayerNorm", {"normalized_shape": (2**27, 2**27, 2**27)}), "arguments"),
        (Layer("GroupNorm", {"num_groups": 2, "num_channels": 3}), "arguments"),
        (Layer("RReLU", {"lower": float("inf")}), "arguments[lower]"),
        (Layer("Conv2d", {}), "type"),
        (Layer("", {}), "type"),
    ],
)
def test_an_argument_that_torch_or_the_server_cannot_take_is_refused_by_name(layer, argument):
    with pytest.raises(ServiceError) as caught:
        check(Architecture((Layer("ReLU"), layer)), LIMITS)
    assert caught.value.field == f"architecture.sequential.layers[1].{argument}"


def test_an_architecture_without_layers_is_refused():
    with pytest.raises(InvalidArgument, match="at least one layer"):
        check(Architecture(()), LIMITS)


def test_more_layers_than_allowed_are_refused():
    with pytest.raises(ServiceError) as caught:
        check(Architecture((Layer("ReLU"),) * 10_000), LIMITS)
    assert caught.value.reason == "TOO_MANY_LAYERS"


def test_buffers_count_towards_the_limit_of_parameters():
    layers = (Layer("BatchNorm1d", {"num_features": 2**26, "affine": False}),) * 3
    with pytest.raises(ServiceError) as caught:
        check(Architecture(layers), LIMITS)
    assert caught.value.reason == "TOO_MANY_PARAMETERS"
