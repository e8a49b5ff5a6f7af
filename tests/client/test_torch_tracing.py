"""Modules that are chains of layers, and those that are not: what is refused, and the place that is named."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize

import gradserve
from gradserve.torch._reading import read
from gradserve.torch._tracing import chain

HERE = Path(__file__).name


class Custom(nn.Module):
    """A module with two Linear layers, whose forward is what a test gives it."""

    def __init__(self, compute: Callable[["Custom", Tensor], Tensor]) -> None:
        super().__init__()
        self.compute = compute
        self.fc1 = nn.Linear(4, 4)
        self.fc2 = nn.Linear(4, 4)
        self.weight = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        """Compute it."""
        return self.compute(self, x)


class Wider(nn.Linear):
    """A Linear that does more."""

    def forward(self, x: Tensor) -> Tensor:
        """Double the output."""
        return 2 * super().forward(x)


def branching(module: Custom, x: Tensor) -> Tensor:
    return module.fc1(x) if x.sum() > 0 else module.fc2(x)


def skipping(module: Custom, x: Tensor) -> Tensor:
    module.fc1(x)
    return module.fc2(x)


def changing(module: Custom, x: Tensor) -> Tensor:
    return module.fc2(module.fc1(x)) if module.training else module.fc1(module.fc2(x))


REFUSED = {
    "a residual": (lambda m, x: x + m.fc1(x), rf"add at {HERE}:\d+ takes something else"),
    "a product": (lambda m, x: m.fc1(x) * 2, rf"mul at {HERE}:\d+ is no layer of a server"),
    "a function of torch": (lambda m, x: torch.exp(m.fc1(x)), rf"exp at {HERE}:\d+ is no layer of a server"),
    "a method": (lambda m, x: m.fc1(x).view(-1), rf"view at {HERE}:\d+ is no layer of a server"),
    "two uses of the input": (lambda m, x: torch.cat([x, m.fc1(x)]), rf"cat at {HERE}:\d+ takes something else"),
    "a parameter": (lambda m, x: functional.linear(x, m.weight), rf"the tensor weight at {HERE}:\d+ by itself"),
    "control flow": (branching, rf"torch\.fx cannot follow its forward at {HERE}:\d+: symbolically traced"),
    "a result that is dropped": (skipping, rf"fc2 at {HERE}:\d+ takes something else"),
    "two outputs": (lambda m, x: (m.fc1(x), x), "its output is not that of its last layer alone"),
    "an output from the middle": (lambda m, x: (m.fc2(y := m.fc1(x)), y)[1], "its output is not that"),
    "another order in training": (changing, "it applies other layers in training than in evaluation"),
    "dropout that is always on": (lambda m, x: functional.dropout(m.fc1(x)), r"Dropout in evaluation too: .*self"),
    "softmax over the rows": (lambda m, x: m.fc1(x).softmax(0), r"has dim=0: make it dim=-1"),
    "softmax without a dim": (lambda m, x: m.fc1(x).softmax(dim=None), r"has dim=None: make it dim=-1"),
    "softmax in another dtype": (lambda m, x: m.fc1(x).softmax(-1, torch.float64), "softmax .* is no layer"),
    "rows in one": (lambda m, x: torch.flatten(m.fc1(x)), "joins the rows into one: flatten from dimension 1"),
    "the same layer twice": (lambda m, x: m.fc1(m.fc1(x)), "uses fc1 more than once, with the same weights"),
    "a layer that is not used": (lambda m, x: m.fc1(x), r"does not use weight, fc2\.weight, fc2\.bias"),
}


def other_modules() -> dict[str, tuple[nn.Module, str]]:
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    tied[1].weight = tied[0].weight
    hooked = nn.Sequential(nn.Linear(4, 4))
    hooked[0].register_forward_hook(lambda _module, _inputs, output: 2 * output)
    patched = nn.Sequential(nn.Linear(4, 4))
    patched[0].forward = torch.relu
    return {
        "another module of torch": (nn.Sequential(nn.Linear(4, 4), nn.Conv1d(1, 1, 1)), "1 is Conv1d, which is no"),
        "a subclass that does more": (nn.Sequential(Wider(4, 4)), r"the tensor 0\.weight at .* by itself"),
        "a parametrized layer": (parametrizations.weight_norm(nn.Linear(4, 4)), "it is ParametrizedLinear"),
        "tied weights": (tied, r"0\.weight and 1\.weight are one tensor"),
        "a hook": (hooked, "0, Linear, has hooks or a forward of its own"),
        "a forward of its own": (patched, "0, Linear, has hooks or a forward of its own"),
        "two dtypes": (
            nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4).double()),
            r"more than one dtype: layers\.0\.bias is torch\.float32, layers\.1\.bias is torch\.float64",
        ),
        "softmax without a dim": (nn.Softmax(), r"it, Softmax, has dim=None: make it dim=-1"),
        "softmax over the columns": (nn.Sequential(nn.Softmax(dim=1)), r"0, Softmax, has dim=1: make it dim=-1"),
        "averages without a momentum": (nn.BatchNorm1d(4, momentum=None), "has momentum=None, which cannot be sent"),
    }


@pytest.mark.parametrize("name", REFUSED)
def test_a_forward_that_is_no_chain_is_refused_with_what_and_where(name: str):
    compute, says = REFUSED[name]
    with pytest.raises(gradserve.InvalidArgumentError, match=says) as caught:
        read(Custom(compute))
    assert caught.value.reason == "UNSUPPORTED_MODULE"
    assert caught.value.field_violations[0].field == "module"


@pytest.mark.parametrize("name", other_modules())
def test_a_module_that_a_server_would_compute_otherwise_is_refused(name: str):
    module, says = other_modules()[name]
    with pytest.raises(gradserve.InvalidArgumentError, match=says):
        read(module)


def test_a_subclass_that_adds_nothing_but_a_name_to_its_parts_is_followed():
    class Block(nn.Sequential):
        """A Sequential under a name of its own."""

    steps = chain(nn.Sequential(Block(nn.Linear(4, 4), nn.ReLU())))
    assert [(step.layer.type, step.path) for step in steps] == [("Linear", "0.0"), ("ReLU", "0.1")]


def test_a_hook_of_a_module_that_is_followed_is_followed_too():
    module = nn.Sequential(nn.Sequential(nn.Linear(4, 4)))
    module[0].register_forward_hook(lambda _module, _inputs, output: torch.relu(output))
    module.register_forward_hook(lambda _module, _inputs, output: output.tanh())
    assert [step.layer.type for step in chain(module)] == ["Linear", "ReLU", "Tanh"]


def test_dropout_that_is_never_on_is_an_identity():
    module = Custom(lambda _module, x: functional.dropout(x, training=False))
    assert [step.layer.type for step in chain(module)] == ["Identity"]


def test_the_place_is_one_in_the_module_and_not_where_it_is_deployed():
    with pytest.raises(gradserve.InvalidArgumentError) as caught:
        read(nn.Sequential(nn.Softmax(dim=0)))
    assert HERE not in str(caught.value)


def test_a_part_that_stays_in_evaluation_keeps_to_that_afterwards():
    module = nn.Sequential(nn.BatchNorm1d(4).eval(), nn.Dropout()).train(mode=True)
    module[0].eval()
    chain(module)
    assert [part.training for part in module.modules()] == [True, False, True]


def test_a_parametrization_that_is_removed_is_no_trouble():
    module = parametrizations.weight_norm(nn.Linear(4, 4))
    parametrize.remove_parametrizations(module, "weight")
    assert list(read(module).state_dict) == ["layers.0.bias", "layers.0.weight"]
