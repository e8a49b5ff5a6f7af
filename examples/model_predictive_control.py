"""Swings a pendulum up with a learned model of it, whose Jacobians come from the server.

A network has learned from random moments how angle, speed and torque change the speed, and the server has the network.
Every 50 ms the controller plans the next 2.5 seconds: one call gives the model's outputs and Jacobians along the whole
plan, and a linear-quadratic regulator improves the plan by these. The first torque goes to the true pendulum, and the
next plan starts from where that is then. As torque is dear, the best plan is to swing back first, and never to take as
much as would hold the pendulum level. Once it stands it gets a push that no plan knows of.

    make serve                                           # in another terminal
    .venv/bin/pip install -e '.[examples]'
    .venv/bin/python examples/model_predictive_control.py  # asks localhost:50051, or GRADSERVE_TARGET if it is set
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

NAME = "pendulum"
SECONDS, HORIZON = 0.05, 50
GRAVITY = 9.81
SPREAD = np.array([5.0, 8.0, 12.0])
STATE_COST, TORQUE_COST, END_COST = np.diag([1.0, 0.1]), np.array([[1.0]]), np.diag([100.0, 10.0])
HANGING, UPRIGHT = np.array([np.pi, 0.0]), np.zeros(2)
NEARLY_UPRIGHT = 10
PUSH, PUSHED_AT = 1.0, 80
SEED = 0

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Plan:
    """States, of shape [HORIZON + 1, 2], and torques, of shape [HORIZON, 1]."""

    states: Array
    torques: Array

    def later(self) -> Plan:
        """Return the plan one step on, its last step twice."""
        return Plan(*(np.concatenate([rows[1:], rows[-1:]]) for rows in (self.states, self.torques)))


def acceleration(angle: Array, torque: Array) -> Array:
    """Return that of the true pendulum, of length and mass 1, whose angle is 0 when it stands."""
    return GRAVITY * np.sin(angle) + torque


def train(iterations: int) -> nn.Sequential:
    """Return a network from angle, speed and torque, each over its SPREAD, to a tenth of the acceleration."""
    torch.manual_seed(SEED)
    network = nn.Sequential(nn.Linear(3, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 1)).double()
    moments = np.random.default_rng(SEED).uniform(-1, 1, (1000, 3))
    angle, _, torque = (moments * SPREAD).T
    x, y = torch.from_numpy(moments), torch.from_numpy(acceleration(angle, torque)[:, None] / 10)
    optimizer = torch.optim.LBFGS(network.parameters(), max_iter=iterations, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        error = nn.functional.mse_loss(network(x), y)
        error.backward()
        return error

    optimizer.step(loss)
    return network


def linearise(model: gradserve.Model, plan: Plan) -> tuple[Array, Array, Array]:
    """Return the states that the model expects one step later, and how they change with state and torque.

    They are of shape [HORIZON, 2], [HORIZON, 2, 2] and [HORIZON, 2, 1].
    """
    moments = np.concatenate([plan.states[:-1], plan.torques], axis=1)
    found = model.jacobian(moments / SPREAD, return_output=True)
    speed_after = moments[:, 1] + SECONDS * 10 * found.output[:, 0]
    slope = SECONDS * 10 * found.input[:, 0] / SPREAD + [0, 1, 0]
    after = np.stack([moments[:, 0] + SECONDS * speed_after, speed_after], axis=1)
    slopes = np.stack([SECONDS * slope + [1, 0, 0], slope], axis=1)
    return after, slopes[..., :2], slopes[..., 2:]


def improve(model: gradserve.Model, start: Array, plan: Plan) -> Plan:
    """Return the best plan from a state for the model linearised along a plan: a Riccati recursion, then a rollout."""
    after, by_state, by_torque = linearise(model, plan)
    rest = after - (by_state @ plan.states[:-1, :, None] + by_torque @ plan.torques[..., None])[..., 0]
    cost, slope, gains = END_COST, np.zeros(2), []
    for a, b, c in zip(by_state[::-1], by_torque[::-1], rest[::-1], strict=True):
        pull = b.T @ np.column_stack([cost @ a, cost @ c + slope])
        gain = -np.linalg.solve(TORQUE_COST + b.T @ cost @ b, pull)
        closed = a + b @ gain[:, :2]
        slope, cost = closed.T @ (cost @ c + slope), STATE_COST + a.T @ cost @ closed
        gains.append(gain)
    states, torques = [start], []
    for a, b, c, gain in zip(by_state, by_torque, rest, reversed(gains), strict=True):
        torques.append(gain[:, :2] @ states[-1] + gain[:, 2])
        states.append(a @ states[-1] + b @ torques[-1] + c)
    return Plan(np.array(states), np.array(torques))


def control(model: gradserve.Model, steps: int) -> tuple[Array, Array]:
    """Swing up and hold; return the true states, of shape [steps + 1, 2], and the torques, of shape [steps]."""
    plan = Plan(np.linspace(HANGING, UPRIGHT, HORIZON + 1), np.zeros((HORIZON, 1)))
    for _ in range(20):
        plan = improve(model, HANGING, plan)
    states, torques = [HANGING], []
    for step in range(steps):
        plan = improve(model, states[-1], plan)
        torques.append(plan.torques[0, 0])
        angle, speed = states[-1]
        speed += SECONDS * acceleration(angle, torques[-1]) + PUSH * (step == PUSHED_AT)
        states.append(np.array([angle + SECONDS * speed, speed]))
        plan = plan.later()
    return np.array(states), np.array(torques)


def plot(states: Array, torques: Array, file: str) -> None:
    """Draw angle and torque over time."""
    figure = Figure((6, 4.5), layout="constrained")
    above, below = figure.subplots(2, sharex=True)
    time = SECONDS * np.arange(len(states))
    above.plot(time, np.degrees(states[:, 0]))
    above.axhline(0, color="black", linewidth=0.8)
    above.axvline(SECONDS * PUSHED_AT, color="tab:red", linestyle=":", label="push")
    above.set(title="A pendulum swung up along served Jacobians", ylabel="angle in degrees (0 stands)")
    above.legend()
    below.step(time[:-1], torques, color="tab:orange", where="post")
    below.axhline(GRAVITY, color="black", linestyle=":", label="needed to hold it level")
    below.set(xlabel="seconds", ylabel="torque in Nm")
    below.legend()
    figure.savefig(file, dpi=90)


def main() -> None:
    """Learn the pendulum, swing it up, and tell and draw how that went."""
    parser = argparse.ArgumentParser(description="Swing a pendulum up with Jacobians from the server.")
    parser.add_argument("--plot", default="model_predictive_control.png", help="where to draw (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=130, help="of control (default: %(default)s)")
    options = parser.parse_args()
    # More threads only get in each other's way in so small a network.
    torch.set_num_threads(1)
    with gradserve.Client() as client:
        model = gradserve.deploy(train(iterations=300), NAME, client)
        try:
            states, torques = control(model, options.steps)
        finally:
            client.delete_model(NAME)
    upright = np.abs(states[:, 0]) < np.radians(NEARLY_UPRIGHT)
    print(f"upright after {SECONDS * upright.argmax():.2f} s, torque at most {np.abs(torques).max():.1f} Nm")
    print(f"angle at the end: {np.degrees(states[-1, 0]):.1f} degrees")
    plot(states, torques, options.plot)


if __name__ == "__main__":
    main()
