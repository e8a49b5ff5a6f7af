"""Half a network on the server learns as if all of it were here."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

import gradserve
from examples import split_learning as example

STEPS = 60


@pytest.fixture(autouse=True)
def upper(client) -> Iterator[gradserve.Model]:
    """The half on the server."""
    architecture = gradserve.MLP(24, [24], 1, activation="Tanh")
    yield client.create_model(example.NAME, architecture, seed=example.SEED, device="cpu")
    client.delete_model(example.NAME)


def losses_in_process(x: torch.Tensor, y: torch.Tensor) -> list[float]:
    """The losses of the same training with both halves here."""
    lower = nn.Linear(2, 24)
    torch.manual_seed(example.SEED)
    network = nn.Sequential(lower, nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 1))
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = binary_cross_entropy_with_logits(network(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_the_loss_falls_as_it_does_with_both_halves_in_process(client):
    """The gradient must come through the server into the lower half, or the losses would part."""
    torch.manual_seed(5)
    x, y = example.spirals(50)
    torch.manual_seed(6)
    training = example.train(client, x, y, STEPS)
    torch.manual_seed(6)
    assert training.losses == pytest.approx(losses_in_process(x, y), rel=1e-2)
    assert training.losses[-1] < 0.1 * training.losses[0]


def test_every_step_is_a_version_of_the_half_on_the_server(client, upper):
    before = upper.state_dict()
    training = example.train(client, *example.spirals(10), 3)
    assert training.versions == 3
    assert all((array != before[name]).any() for name, array in upper.state_dict().items())
