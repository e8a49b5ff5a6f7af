"""What callers define: a model to create, and a change to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gradserve_server.architecture import Architecture


@dataclass(frozen=True)
class NewModel:
    """A model to create.

    Attributes:
        name: What requests will call it.
        architecture: Its layers.
        dtype: Of its parameters: a floating one.
        device: As `Devices.resolve` takes it.
        seed: What its weights are drawn from; None to have one drawn.
        weights: A safetensors file of its weights instead; None for those of the seed.
    """

    name: str
    architecture: Architecture
    dtype: str = "float32"
    device: str = "auto"
    seed: int | None = None
    weights: bytes | None = None


@dataclass(frozen=True)
class ModelUpdate:
    """What to change about a model; None leaves it.

    Attributes:
        device: As `Devices.resolve` takes it.
        dtype: A floating one.
        requires_grad: Globs over the parameters and their new flags; a later one wins.
    """

    device: str | None = None
    dtype: str | None = None
    requires_grad: Sequence[tuple[str, bool]] = ()
