"""Training scripts, of which one line tells whether the model is here or on a server."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn
from torch.nn import functional

import gradserve
from gradserve.torch import RemoteModule

STEPS = 1000

OPTIMIZERS: dict[str, Callable[[Iterator[nn.Parameter]], torch.optim.Optimizer]] = {
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=1e-4),
    "Adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    "AdamW": lambda parameters: torch.optim.AdamW(parameters, lr=0.01),
}


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = STEPS) -> list[float]:
    """Return the loss of each step."""
    draw = torch.Generator().manual_seed(1)
    x, y = torch.randn(64, 8, generator=draw), torch.randint(3, (64,), generator=draw)
    losses = []
    for _ in range(steps):
        rows = torch.randint(64, (16,), generator=draw)
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.fixture
def local() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 3))


@pytest.fixture
def remote(client: gradserve.Client, local: nn.Module) -> Iterator[RemoteModule]:
    yield RemoteModule(client, gradserve.deploy(local, "trained", client, device="cpu").name)
    client.delete_model("trained")


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_thousand_steps_are_equal_to_the_last_bit(local: nn.Module, remote: RemoteModule, name: str):
    expected = train(local, OPTIMIZERS[name](local.parameters()))
    assert train(remote, OPTIMIZERS[name](remote.parameters())) == expected
    assert all(map(torch.equal, remote.parameters(), local.parameters()))
    assert expected[-1] < 0.1 < expected[0]


def test_clipped_gradients_frozen_layers_and_schedules_are_as_in_process(local: nn.Module, remote: RemoteModule):
    def trained(module: nn.Module, layers: nn.Module) -> list[torch.Tensor]:
        layers[0].requires_grad_(False)
        optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=0.5)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        for _ in range(3):
            optimizer.zero_grad()
            module(torch.ones(2, 8)).square().sum().backward()
            nn.utils.clip_grad_norm_(module.parameters(), 0.1)
            optimizer.step()
            schedule.step()
        assert layers[0].weight.grad is None
        return list(module.parameters())

    assert all(map(torch.equal, trained(remote, remote.layers), trained(local, local)))


def test_what_was_trained_is_on_the_server_and_not_on_its_disk_before_push(
    durable_client: gradserve.Client, local: nn.Module
):
    model = gradserve.deploy(local, "trained", durable_client, device="cpu")
    remote = RemoteModule(durable_client, "trained")
    train(remote, torch.optim.SGD(remote.parameters(), lr=0.1), steps=2)
    remote(torch.ones(1, 8))
    assert model.info().unsaved
    assert remote.push() == model.info().version
    assert not model.info().unsaved
    state = model.state_dict()
    assert all(tensor.numpy().tobytes() == state[name].tobytes() for name, tensor in remote.state_dict().items())
    durable_client.delete_model("trained")


def test_dropout_in_training_is_ruled_by_the_global_seed(client: gradserve.Client):
    digits = RemoteModule(client, "digits").train()
    x = torch.ones(4, 64, requires_grad=True)

    def gradient(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.autograd.grad(digits(x).square().sum(), x)[0]

    assert torch.equal(gradient(3), gradient(3))
    assert not torch.equal(gradient(3), gradient(4))
    digits.eval()
    assert torch.equal(gradient(3), gradient(4))
