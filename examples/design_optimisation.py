"""Finds the best design on a surrogate: SciPy descends along gradients that come from the server.

The response is Branin's function of two design variables, a common test of optimisers: three minima, all of 0.3979. It
stands for a simulation that takes hours. A network learns it from samples; from there on only the server knows the
network, and each step of the optimiser is one call for value and gradient. From ten starts the path goes downhill, and
the best end is compared with what is known.

    make serve                                           # in another terminal
    .venv/bin/pip install -e '.[examples]'
    .venv/bin/python examples/design_optimisation.py     # asks localhost:50051, or GRADSERVE_TARGET if it is set
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import nn

import gradserve

NAME = "branin-surrogate"
MINIMA = np.array([[-np.pi, 12.275], [np.pi, 2.275], [9.42478, 2.475]])
LOW, HIGH = np.array([-5.0, 0.0]), np.array([10.0, 15.0])
SEED = 0


@dataclass(frozen=True)
class Descent:
    """One run of the optimiser: its designs in units of -1..1, of shape [steps, 2], and the response at the last."""

    path: NDArray[np.float64]
    response: float


def branin(design: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the true response, of shape [...], of designs in -1..1, of shape [..., 2]."""
    x, y = np.moveaxis(physical(design), -1, 0)
    valley = (y - 5.1 * x**2 / (4 * np.pi**2) + 5 * x / np.pi - 6) ** 2
    return valley + 10 * (1 - 1 / (8 * np.pi)) * np.cos(x) + 10


def physical(design: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return designs in the units of Branin's function."""
    return LOW + (design + 1) / 2 * (HIGH - LOW)


def train(iterations: int, samples: int = 600) -> nn.Sequential:
    """Return a network that has learned a hundredth of the response, in float64: line searches need smooth values."""
    torch.manual_seed(SEED)
    surrogate = nn.Sequential(nn.Linear(2, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 1)).double()
    designs = np.random.default_rng(SEED).uniform(-1, 1, (samples, 2))
    x, y = torch.from_numpy(designs), torch.from_numpy(branin(designs)[:, None] / 100)
    optimizer = torch.optim.LBFGS(surrogate.parameters(), max_iter=iterations, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        error = nn.functional.mse_loss(surrogate(x), y)
        error.backward()
        return error

    optimizer.step(loss)
    return surrogate


def descend(model: gradserve.Model, start: NDArray[np.float64]) -> Descent:
    """Go downhill from a design, within the bounds."""
    path, response = [start], gradserve.Objective(model, "sum")
    found = minimize(
        response.fun, start, jac=response.jac, method="L-BFGS-B", bounds=[(-1, 1)] * 2, callback=path.append
    )
    return Descent(np.array(path), 100 * found.fun)


def optimise(client: gradserve.Client, iterations: int, starts: int) -> list[Descent]:
    """Learn a surrogate, deploy it, and descend from random starts; the best comes first."""
    model = gradserve.deploy(train(iterations), NAME, client)
    try:
        designs = np.random.default_rng(SEED + 1).uniform(-1, 1, (starts, 2))
        return sorted((descend(model, start) for start in designs), key=lambda descent: descent.response)
    finally:
        client.delete_model(NAME)


def plot(descents: list[Descent], file: str) -> None:
    """Draw the paths over the true response."""
    figure = Figure((6, 4.5), layout="constrained")
    axes = figure.subplots()
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 120)] * 2), axis=-1)
    x, y = np.moveaxis(physical(grid), -1, 0)
    axes.contourf(x, y, np.log(branin(grid)), 12, cmap="Blues")
    for descent in descents:
        axes.plot(*physical(descent.path).T, ".-", color="tab:orange", linewidth=1.2)
    axes.plot(*MINIMA.T, "*", color="black", markersize=11, label="known minima")
    axes.set(title="L-BFGS-B on a served surrogate of Branin's function", xlabel="first design variable")
    axes.set(ylabel="second design variable", xlim=(LOW[0], HIGH[0]), ylim=(LOW[1], HIGH[1]))
    axes.legend(loc="upper right")
    figure.savefig(file, dpi=90)


def main() -> None:
    """Optimise, tell what was found, and draw it."""
    parser = argparse.ArgumentParser(description="Optimise a design over a served surrogate.")
    parser.add_argument("--plot", default="design_optimisation.png", help="where to draw (default: %(default)s)")
    parser.add_argument("--iterations", type=int, default=400, help="of training (default: %(default)s)")
    options = parser.parse_args()
    # More threads only get in each other's way in so small a network.
    torch.set_num_threads(1)
    with gradserve.Client() as client:
        descents = optimise(client, options.iterations, starts=10)
    best = descents[0].path[-1]
    nearest = min(np.linalg.norm(MINIMA - physical(best), axis=1))
    print(f"{len(descents)} descents, {sum(len(descent.path) - 1 for descent in descents)} steps")
    print("best design:", physical(best).round(2))
    print(f"response: {branin(best):.2f}, known minimum: {branin((MINIMA[0] - LOW) / (HIGH - LOW) * 2 - 1):.2f}")
    print(f"distance to the nearest known minimum: {nearest:.2f}")
    plot(descents, options.plot)


if __name__ == "__main__":
    main()
