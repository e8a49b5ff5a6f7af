"""What this server can host and compute."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gradserve_server.engine.losses.kinds import LOSSES
from gradserve_server.engine.network.layers import LAYERS


@dataclass(frozen=True)
class Catalogue:
    """The names that requests may use, sorted, and the torch behind them.

    Attributes:
        torch_version: Of torch.
        cuda_version: Of the CUDA that torch was built for; empty without.
        layer_types: What an architecture may hold.
        losses: What Gradient takes.
    """

    torch_version: str
    cuda_version: str
    layer_types: tuple[str, ...]
    losses: tuple[str, ...]


def describe_catalogue() -> Catalogue:
    """The closed tables by name."""
    return Catalogue(torch.__version__, torch.version.cuda or "", tuple(sorted(LAYERS)), tuple(sorted(LOSSES)))
