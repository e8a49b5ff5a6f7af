"""Trains a network whose lower half stays here and whose upper half is on the server.

Two spirals are to be told apart. The points and the first layers never leave this process: only what those make of the
points goes to the server, and the gradient with respect to it comes back. `RemoteModule` hides both calls: for torch
the upper half is one module more, and one optimizer trains both halves.

    make serve                                           # in another terminal
    .venv/bin/pip install -e '.[examples]'
    .venv/bin/python examples/split_learning.py          # asks localhost:50051, or GRADSERVE_TARGET if it is set
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

import gradserve
from gradserve.torch import RemoteModule

NAME = "upper-half"
SEED = 0


@dataclass(frozen=True)
class Training:
    """What came of it.

    Attributes:
        network: Both halves, one after the other.
        losses: The loss before each step.
        versions: By how many the upper half on the server went on: 1 for each step.
    """

    network: nn.Sequential
    losses: list[float]
    versions: int


def spirals(points: int) -> tuple[Tensor, Tensor]:
    """Return points in the plane, of shape [2 * points, 2], and 0. or 1. for the spiral of each, [2 * points, 1]."""
    turn = torch.linspace(0.5, 1.5 * math.pi, points)
    arm = turn[:, None] * torch.stack([turn.cos(), turn.sin()], dim=1) / 3
    x = torch.cat([arm, -arm])
    return x + 0.05 * torch.randn_like(x), torch.arange(2.0).repeat_interleave(points)[:, None]


def train(client: gradserve.Client, x: Tensor, y: Tensor, steps: int) -> Training:
    """Train a lower half that is made here, and the upper half that the server has as the model `NAME`."""
    model = client.model(NAME)
    first = model.info().version
    network = nn.Sequential(nn.Linear(2, 24), nn.Tanh(), RemoteModule(client, NAME))
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = binary_cross_entropy_with_logits(network(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    # The last step is sent by the next forward.
    with torch.no_grad():
        network(x)
    return Training(network, losses, model.info().version - first)


def plot(training: Training, x: Tensor, y: Tensor, file: str) -> None:
    """Draw the loss, and what the network makes of the plane."""
    figure = Figure((8, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.semilogy(training.losses)
    left.set(title="half here, half on the server", xlabel="step", ylabel="loss")
    side = torch.linspace(-2, 2, 80)
    with torch.no_grad():
        grid = torch.stack(torch.meshgrid(side, side, indexing="xy"), dim=-1)
        right.contourf(side, side, training.network(grid)[..., 0].sigmoid(), 8, cmap="coolwarm", alpha=0.6)
    right.scatter(*x.T, c=y[:, 0], cmap="coolwarm", s=8)
    right.set(title="probability of the second spiral", aspect="equal")
    figure.savefig(file, dpi=90)


def main() -> None:
    """Train, and tell and draw how that went."""
    parser = argparse.ArgumentParser(description="Train half a network here and half on the server.")
    parser.add_argument("--plot", default="split_learning.png", help="where to draw (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=200, help="of Adam (default: %(default)s)")
    options = parser.parse_args()
    # More threads only get in each other's way in so small a network.
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    x, y = spirals(100)
    with gradserve.Client() as client:
        client.create_model(NAME, gradserve.MLP(24, [24], 1, activation="Tanh"), seed=SEED)
        try:
            training = train(client, x, y, options.steps)
            with torch.no_grad():
                right = ((training.network(x) > 0) == (y > 0)).double().mean()
            plot(training, x, y, options.plot)
        finally:
            client.delete_model(NAME)
    print(f"loss: {training.losses[0]:.3f} before, {training.losses[-1]:.3f} after {options.steps} steps")
    print(f"right: {right:.1%} of the points")
    print("versions of the upper half after its first:", training.versions)


if __name__ == "__main__":
    main()
