"""What callers know of a model that a server keeps, and the changes that they make to it at random.

The weights of every version are those of a seed, whether they were drawn by the server or sent to it. So what must be
in memory and on disk is known to the last bit.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import torch
from torch import nn

import gradserve

AUTOMATIC = "version-"
_MOST_AUTOMATIC = 5
_WIDTHS = (64, 128, 64)
_SEEDS = 64
_LIKELIHOODS = {"load": 5, "save": 3, "load_checkpoint": 3, "delete_checkpoint": 2, "delete": 1}


def _drawn(seed: int) -> Mapping[str, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = nn.Sequential(nn.Linear(*_WIDTHS[:2]), nn.ReLU(), nn.Linear(*_WIDTHS[1:]))
    return {f"layers.{name}": tensor for name, tensor in layers.state_dict().items()}


WEIGHTS = [_drawn(seed) for seed in range(_SEEDS)]
"""The weights that torch draws from each seed. Drawing them is not for many threads at once."""


@dataclass(frozen=True)
class Snapshot:
    """Weights: their version, and the seed that they are drawn from."""

    version: int
    seed: int


@dataclass(frozen=True)
class KeptModel:
    """All that a server must keep of one name.

    Attributes:
        last_version: The highest version that it has had.
        live: Its weights; None while there is no such model.
        checkpoints: By name, the oldest first.
    """

    last_version: int = 0
    live: Snapshot | None = None
    checkpoints: Mapping[str, Snapshot] = field(default_factory=dict)

    def with_weights(self, seed: int) -> KeptModel:
        """After it was created, or other weights were loaded."""
        snapshot = Snapshot(self.last_version + 1, seed)
        checkpoints = {**self.checkpoints, f"{AUTOMATIC}{snapshot.version}": snapshot}
        automatic = [name for name in checkpoints if name.startswith(AUTOMATIC)]
        for name in automatic[:-_MOST_AUTOMATIC]:
            del checkpoints[name]
        return KeptModel(snapshot.version, snapshot, checkpoints)

    def with_checkpoint(self, name: str) -> KeptModel:
        """After its live weights were saved under a name."""
        assert self.live is not None
        return replace(self, checkpoints={**self.checkpoints, name: self.live})

    def without_checkpoint(self, name: str) -> KeptModel:
        """After a checkpoint was deleted."""
        return replace(self, checkpoints={other: kept for other, kept in self.checkpoints.items() if other != name})

    def deleted(self) -> KeptModel:
        """After it was deleted."""
        return KeptModel(self.last_version)


Call: TypeAlias = Callable[[gradserve.Client], int | None]
"""Makes a change, and gives the version that the server told, if it told one."""


@dataclass(frozen=True)
class Change:
    """A call that changes a model, the model after it, and the version that the caller must be told."""

    call: Call
    after: KeptModel
    version: int | None = None


def next_change(name: str, kept: KeptModel, dice: random.Random) -> Change:
    """Any change that can be made to a model."""
    seed = dice.randrange(_SEEDS)
    if kept.live is None:
        return Change(lambda client: _create(client, name, seed), kept.with_weights(seed))
    possible = [kind for kind in _LIKELIHOODS if kept.checkpoints or not kind.endswith("_checkpoint")]
    chosen = dice.choice(list(kept.checkpoints)) if kept.checkpoints else ""
    match dice.choices(possible, [_LIKELIHOODS[kind] for kind in possible])[0]:
        case "load":
            after = kept.with_weights(seed)
            return Change(
                lambda client: client.model(name).load_state_dict(WEIGHTS[seed]).version, after, after.last_version
            )
        case "load_checkpoint":
            after = kept.with_weights(kept.checkpoints[chosen].seed)
            return Change(lambda client: client.model(name).load_checkpoint(chosen), after, after.last_version)
        case "save":
            new = f"saved-{dice.getrandbits(48)}"
            return Change(
                lambda client: client.model(name).save_checkpoint(new).version,
                kept.with_checkpoint(new),
                kept.live.version,
            )
        case "delete_checkpoint":
            return Change(lambda client: client.model(name).delete_checkpoint(chosen), kept.without_checkpoint(chosen))
        case _:
            return Change(lambda client: client.delete_model(name), kept.deleted(), kept.live.version)


def _create(client: gradserve.Client, name: str, seed: int) -> None:
    client.create_model(name, gradserve.MLP(_WIDTHS[0], list(_WIDTHS[1:-1]), _WIDTHS[-1]), seed=seed, device="cpu")
