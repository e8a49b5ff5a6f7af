"""What this server can host and compute."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gradserve_server.engine.layers import LAYERS
from gradserve_server.engine.losses import LOSSES


@dataclass(frozen=True)
class Catalogue:
    """The names that requests may use, sorted, and the version of torch behind them."""

    torch_version: str
    layer_types: tuple[str, ...]
    losses: tuple[str, ...]


def describe_catalogue() -> Catalogue:
    """The closed tables by name."""
    return Catalogue(torch.__version__, tuple(sorted(LAYERS)), tuple(sorted(LOSSES)))
