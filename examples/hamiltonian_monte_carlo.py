"""Samples a posterior by Hamiltonian Monte Carlo, with gradients that come from the server.

Somewhere in the plane is a source. A sensor tells how far away it is, with an error of 0.25; before, one knew only that
it is somewhere around the origin. So it must lie on an arc. A network has learned the distance to the sensor, and the
server has the network. 64 chains walk along the arc at once: each leapfrog step is one call that brings the
log-likelihoods of all chains and their gradients. In two dimensions one can also just sum over a grid, and the sampler
has to agree with that.

    make serve                                           # in another terminal
    .venv/bin/pip install -e '.[examples]'
    .venv/bin/python examples/hamiltonian_monte_carlo.py  # asks localhost:50051, or GRADSERVE_TARGET if it is set
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import nn

import gradserve

NAME = "distance"
SENSOR = np.array([[-2.0, 0.0]], dtype="float32")
READING, ERROR = 2.0, 0.25
LARGEST_STEP, LEAPS, CHAINS = 0.2, 10, 64
SEED = 0

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Samples:
    """What the chains have visited, of shape [steps, chains, 2], and the share of the steps that were accepted."""

    places: Array
    accepted: float


def train(iterations: int) -> nn.Sequential:
    """Return a network from places [N, 2] to distances [N, 1]."""
    torch.manual_seed(SEED)
    network = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    x = torch.empty(1000, 2).uniform_(-5, 5)
    y = torch.cdist(x, torch.from_numpy(SENSOR))
    optimizer = torch.optim.LBFGS(network.parameters(), max_iter=iterations, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        error = nn.functional.mse_loss(network(x), y)
        error.backward()
        return error

    optimizer.step(loss)
    return network


def potential(model: gradserve.Model, places: Array) -> tuple[Array, Array]:
    """Return minus the log-posterior of each row up to a constant, of shape [N], and its gradient, [N, 2]."""
    target = np.full((len(places), 1), READING)
    weight = np.full((len(places), 1), 1 / (2 * ERROR**2))
    g = model.gradient(places, target, loss="mse_loss", reduction="none", grad_output=weight, wrt="input")
    return (g.loss * weight).sum(axis=1) + (places**2).sum(axis=1) / 2, g.input + places


def sample(model: gradserve.Model, steps: int) -> Samples:
    """Walk: draw a momentum, follow it through the potential, and accept or stay, as R. M. Neal, arXiv:1206.1901."""
    rng = np.random.default_rng(SEED)
    here = rng.normal(size=(CHAINS, 2))
    energy, slope = potential(model, here)
    visited, accepted = [], 0
    for _ in range(steps):
        start = rng.normal(size=here.shape)
        # Of one length, all steps might go round in the potential and end where they began.
        step = LARGEST_STEP * rng.uniform(0.5, 1)
        there, momentum, risen, new_slope = here, start, energy, slope
        for _ in range(LEAPS):
            momentum = momentum - step / 2 * new_slope
            there = there + step * momentum
            risen, new_slope = potential(model, there)
            momentum = momentum - step / 2 * new_slope
        gain = energy - risen + ((start**2).sum(axis=1) - (momentum**2).sum(axis=1)) / 2
        moves = np.log(rng.uniform(size=CHAINS)) < gain
        energy = np.where(moves, risen, energy)
        here, slope = (np.where(moves[:, None], new, old) for new, old in ((there, here), (new_slope, slope)))
        visited.append(here)
        accepted += moves.sum()
    return Samples(np.array(visited[steps // 10 :]), accepted / (steps * CHAINS))


def posterior(model: gradserve.Model, side: Array) -> tuple[Array, Array, Array]:
    """Return the posterior on a grid, adding up to 1, and its mean and standard deviation, by summing over the grid."""
    grid = np.stack(np.meshgrid(side, side), axis=-1)
    logs = -(((model(grid)[..., 0] - READING) / ERROR) ** 2 + (grid**2).sum(axis=-1)) / 2
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    mean = (weights[..., None] * grid).sum(axis=(0, 1))
    return weights, mean, np.sqrt((weights[..., None] * (grid - mean) ** 2).sum(axis=(0, 1)))


def plot(side: Array, weights: Array, places: Array, file: str) -> None:
    """Draw the posterior, every tenth step of all chains, and one chain's first steps."""
    figure = Figure((6, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.contourf(side, side, weights, 12, cmap="Blues")
    axes.plot(*places[::10].reshape(-1, 2).T, ".", color="tab:orange", markersize=2, label="samples")
    axes.plot(*places[:20, 0].T, "-", color="black", linewidth=0.8, label="twenty steps of one chain")
    axes.plot(*SENSOR.T, "^", color="tab:green", label="sensor")
    axes.set(title="Hamiltonian Monte Carlo with served gradients", xlim=(-3, 2), ylim=(-3, 3))
    axes.legend(loc="upper right")
    figure.savefig(file, dpi=90)


def main() -> None:
    """Sample, compare with the sum over a grid, and draw both."""
    parser = argparse.ArgumentParser(description="Sample a posterior with gradients from the server.")
    parser.add_argument("--plot", default="hamiltonian_monte_carlo.png", help="where to draw (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=100, help="of each chain (default: %(default)s)")
    options = parser.parse_args()
    # More threads only get in each other's way in so small a network.
    torch.set_num_threads(1)
    side = np.linspace(-5, 5, 200, dtype="float32")
    with gradserve.Client() as client:
        model = gradserve.deploy(train(iterations=300), NAME, client)
        try:
            weights, mean, deviation = posterior(model, side)
            samples = sample(model, options.steps)
        finally:
            client.delete_model(NAME)
    sampled = samples.places.reshape(-1, 2)
    print(f"{CHAINS} chains of {options.steps} steps, {samples.accepted:.0%} accepted")
    print("mean:", sampled.mean(axis=0).round(2), "by the grid:", mean.round(2))
    print("standard deviation:", sampled.std(axis=0).round(2), "by the grid:", deviation.round(2))
    plot(side, weights, samples.places, options.plot)


if __name__ == "__main__":
    main()
