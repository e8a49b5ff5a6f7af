"""Callers of every kind at once, so that each panel of the dashboard has something to show."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeAlias

import numpy as np

import gradserve

QUEUE_ROWS = 2048
"""What `batching.max_queue_rows` of the server should be: so little that `_flood` fills it."""

_WIDE = 1024
_KEPT_EVERY = 5
_Call: TypeAlias = Callable[[gradserve.Client, np.random.Generator], None]


@contextmanager
def traffic(target: str) -> Iterator[None]:
    """Call a server, which serves the bundled models, until the block ends.

    Args:
        target: Where it listens: "HOST:PORT".

    Raises:
        Error: A caller met what it had not expected.
    """
    end = threading.Event()
    failures: list[Exception] = []
    with gradserve.Client(target, timeout=30) as client:
        _create_models(client)
        callers = [
            threading.Thread(target=_repeat, args=(call, pause, client, end, failures)) for call, pause in _CALLERS
        ]
        for caller in callers:
            caller.start()
        try:
            yield
        finally:
            end.set()
            for caller in callers:
                caller.join()
    if failures:
        raise failures[0]


def _create_models(client: gradserve.Client) -> None:
    client.create_model("surrogate", gradserve.MLP(8, [64, 64], 1, activation="Tanh"), seed=1)
    client.create_model("policy", gradserve.MLP(12, [32], 4), seed=2)
    client.create_model("ranker", gradserve.MLP(_WIDE, [_WIDE, _WIDE], 1), seed=3)


def _repeat(
    call: _Call, pause: float, client: gradserve.Client, end: threading.Event, failures: list[Exception]
) -> None:
    draw = np.random.default_rng(0)
    try:
        call(client, draw)
        while not end.wait(pause * _swell() * draw.exponential()):
            call(client, draw)
    except Exception as error:  # noqa: BLE001 - it is raised where the callers were started
        failures.append(error)


def _swell() -> float:
    """Between a half and one and a half, once up and down within two minutes."""
    return 1 + 0.5 * math.sin(time.monotonic() * math.tau / 120)


def _read_digits(client: gradserve.Client, draw: np.random.Generator) -> None:
    client.model("digits").forward(draw.random((draw.integers(1, 9), 64), np.float32))


def _optimise(client: gradserve.Client, draw: np.random.Generator) -> None:
    client.model("surrogate").gradient(draw.standard_normal((16, 8), np.float32), loss="sum", wrt="input")


def _rank(client: gradserve.Client, draw: np.random.Generator) -> None:
    client.model("ranker").forward(draw.standard_normal((64, _WIDE), np.float32))


def _train(client: gradserve.Client, draw: np.random.Generator) -> None:
    """A step of descent; some are kept, each in the place of the one before."""
    policy = client.model("policy")
    x = draw.standard_normal((32, 12), np.float32)
    g = policy.gradient(x, x[:, :4].argmax(axis=1), loss="cross_entropy")
    weights = policy.state_dict()
    loaded = policy.load_state_dict({name: array - 0.1 * g[name] for name, array in weights.items()})
    if loaded.version % _KEPT_EVERY == 0:
        with suppress(gradserve.NotFoundError):
            policy.delete_checkpoint("newest")
        policy.save_checkpoint("newest")


def _ask_wrongly(client: gradserve.Client, draw: np.random.Generator) -> None:
    with suppress(gradserve.InvalidArgumentError):
        client.model("digits").forward(draw.random((1, 63), np.float32))
    with suppress(gradserve.NotFoundError):
        client.model("forgotten").info()
    client.model("surrogate").forward(np.full((1, 8), np.nan, np.float32))


def _flood(client: gradserve.Client, draw: np.random.Generator) -> None:
    """More than finds room: some is refused, what is in a hurry comes too late, and what then waits is given up."""
    rows = draw.standard_normal((256, _WIDE), np.float32)
    stream = client.model("ranker").stream(max_in_flight=64)
    answers = [stream.forward(rows) for _ in range(20)]
    hurried = [stream.forward(rows[:1], timeout=seconds) for seconds in (1e-6, 0.05)]
    for answer in (*hurried, *answers[:8]):
        with suppress(gradserve.Error):
            answer.result()
    stream.cancel()


_CALLERS: tuple[tuple[_Call, float], ...] = (
    (_read_digits, 0.02),
    (_read_digits, 0.02),
    (_optimise, 0.03),
    (_rank, 0.08),
    (_train, 1.0),
    (_ask_wrongly, 2.0),
    (_flood, 12.0),
)
"""Who calls, and after a pause of how many seconds in the mean."""
