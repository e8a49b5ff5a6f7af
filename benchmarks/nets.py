"""The networks that are measured. Needs torch alone, so that other servers can serve the same ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

_SEED = 7


@dataclass(frozen=True)
class Net:
    """Linear layers with a ReLU between each two, float32.

    Attributes:
        name: What servers call it.
        widths: Of the input, of each hidden layer, and of the output.
    """

    name: str
    widths: tuple[int, ...]

    @property
    def in_features(self) -> int:
        """The width of the input."""
        return self.widths[0]

    @property
    def out_features(self) -> int:
        """The width of the output."""
        return self.widths[-1]

    def module(self) -> nn.Sequential:
        """It as torch makes it, with the same weights each time."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED)
            layers = [nn.Linear(*pair) for pair in zip(self.widths, self.widths[1:], strict=False)]
        return nn.Sequential(*[part for layer in layers for part in (layer, nn.ReLU())][:-1])

    def input(self, rows: int) -> Tensor:
        """Random rows, [rows, in_features], the same each time."""
        return torch.randn(rows, self.in_features, generator=torch.Generator().manual_seed(_SEED))

    @property
    def seed(self) -> int:
        """What a server draws the same weights from."""
        return _SEED


S = Net("s", (50, 30, 20, 3))
"""Small: what surrounds it costs more than itself."""

B = Net("b", (784, 1024, 1024, 10))
"""Big: it costs more than what surrounds it."""

HEAVY = Net("heavy", (16, 1024, 1024, 1024, 1024, 1024, 4))
"""Nothing but work: 64 rows of it take some milliseconds and arrive in 4 KB."""

NETS = {net.name: net for net in (S, B, HEAVY)}
"""By name."""
