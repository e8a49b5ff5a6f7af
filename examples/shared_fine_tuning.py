"""Fine-tunes one model on the server from three processes at once, and loses no step of any.

Each process has every third point of a sine curve. It reads the weights and their version, has the server compute the
gradient at that version, and sends back weights that are one step further, on condition that the version is still the
same (`if_version`). If another process was faster, the server changes nothing and says ABORTED, or
FAILED_PRECONDITION to the gradient; the process starts that step again from the new weights. So the version at the end
tells how many steps were taken: all of all processes. No process needs torch.

    make serve                                           # in another terminal
    .venv/bin/pip install -e '.[examples]'
    .venv/bin/python examples/shared_fine_tuning.py      # asks localhost:50051, or GRADSERVE_TARGET if it is set
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

import gradserve

NAME = "shared-sine"
PROCESSES = 3
RATE = 0.05
SEED = 0

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Work:
    """What one process did: the version that each of its steps made, and how often another process was faster."""

    versions: list[int]
    conflicts: int


def curve(points: int) -> tuple[Array, Array]:
    """Return points of a sine curve and its values, both of shape [points, 1]."""
    x = np.linspace(-np.pi, np.pi, points, dtype="float32")[:, None]
    return x, np.sin(x)


def take_step(model: gradserve.Model, x: Array, y: Array) -> int:
    """Take one step of descent and return the version that it made.

    Raises:
        gradserve.AbortedError: Another process has changed the weights since this one read them; nothing changed.
        gradserve.FailedPreconditionError: The same, before the gradient was computed.
    """
    weights = model.state_dict()
    g = model.gradient(x, y, loss="mse_loss", if_version=weights.version)
    step = {name: array - RATE * g[name] for name, array in weights.items()}
    return model.load_state_dict(step, if_version=weights.version, durable=False).version


def fine_tune(steps: int, process: int) -> Work:
    """Take so many steps on this process's points of the curve."""
    x, y = (whole[process::PROCESSES] for whole in curve(96))
    versions, conflicts = [], 0
    with gradserve.Client() as client:
        model = client.model(NAME)
        while len(versions) < steps:
            try:
                versions.append(take_step(model, x, y))
            except (gradserve.AbortedError, gradserve.FailedPreconditionError) as error:
                if error.reason != "VERSION_MISMATCH":
                    raise
                conflicts += 1
    return Work(versions, conflicts)


def plot(works: list[Work], outputs: tuple[Array, Array], file: str) -> None:
    """Draw whose step made which version, and what the model knew before and after."""
    figure = Figure((8, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for process, work in enumerate(works):
        left.step(work.versions, np.arange(1, len(work.versions) + 1), label=f"process {process}", where="post")
    left.set(title="every version is somebody's step", xlabel="version", ylabel="steps of the process")
    left.legend()
    x, y = curve(96)
    for process in range(PROCESSES):
        right.plot(x[process::PROCESSES], y[process::PROCESSES], "o", markersize=4, label=f"of process {process}")
    for output, style, label in zip(outputs, (":", "-"), ("before", "after"), strict=True):
        right.plot(x, output, style, color="black", label=label)
    right.set(title="what the shared model knows", xlabel="x")
    right.legend(loc="lower right")
    figure.savefig(file, dpi=80)


def main() -> None:
    """Fine-tune from all processes, and tell and draw what came of it."""
    parser = argparse.ArgumentParser(description="Fine-tune one model from three processes.")
    parser.add_argument("--plot", default="shared_fine_tuning.png", help="where to draw (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=200, help="of each process (default: %(default)s)")
    options = parser.parse_args()
    x, y = curve(96)
    with gradserve.Client() as client:
        model = client.create_model(NAME, gradserve.MLP(1, [32, 32], 1), seed=SEED)
        try:
            before, first = model(x), model.info().version
            # A process that gRPC runs in must not be forked.
            with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
                works = list(pool.map(partial(fine_tune, options.steps), range(PROCESSES)))
            after, last = model(x), model.info().version
        finally:
            client.delete_model(NAME)
    print(f"{PROCESSES} processes of {options.steps} steps; tried again:", sum(work.conflicts for work in works))
    print(f"versions after the first: {last - first}")
    print(f"loss: {np.mean((before - y) ** 2):.3f} before, {np.mean((after - y) ** 2):.3f} after")
    plot(works, (before, after), options.plot)


if __name__ == "__main__":
    main()
