"""Tensors described by a few words, so that a failing case prints short and can be typed in again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

INTEGERS = ("uint8", "int8", "int16", "int32", "int64")
FLOATS = ("float32", "float64", "float16", "bfloat16")

_FROM_NORMAL: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "normal": lambda normal: normal,
    "nonfinite": lambda normal: normal.where(normal < 1, torch.nan).where(normal > -1.3, -torch.inf),
    "probabilities": torch.sigmoid,
    "distribution": lambda normal: normal.softmax(-1),
    "logs": lambda normal: -normal.abs(),
    "positive": lambda normal: normal.abs() + 0.05,
    "signs": lambda normal: (normal < 0) * -2.0 + 1,
}


@dataclass(frozen=True)
class Sample:
    """A random tensor.

    Attributes:
        kind: "normal", "nonfinite" (a NaN, an infinity among them), "probabilities" (each in [0, 1]),
            "distribution" (rows that sum to 1), "logs" (negative), "positive", "signs" (-1 or 1), "classes" (ids),
            or "labels" (multilabel ids: the wanted ones first, then -1).
        shape: The size of each dimension.
        dtype: Its name, without "torch.".
        seed: What the values are drawn from.
        classes: How many classes there are, for the last two kinds.
        ignored: A class id to put in some places.
    """

    kind: str
    shape: tuple[int, ...]
    dtype: str
    seed: int
    classes: int = 0
    ignored: int | None = None

    def tensor(self) -> torch.Tensor:
        """The tensor itself: the same one at every call."""
        generator = torch.Generator().manual_seed(self.seed)
        if self.kind == "classes":
            values = self._class_ids(generator)
        elif self.kind == "labels":
            values = self._labels(generator)
        else:
            values = _FROM_NORMAL[self.kind](torch.randn(self.shape, generator=generator, dtype=torch.float64))
        return values.to(getattr(torch, self.dtype))

    def _class_ids(self, generator: torch.Generator) -> torch.Tensor:
        ids = torch.randint(self.classes, self.shape, generator=generator)
        if self.ignored is None:
            return ids
        return torch.where(torch.rand(self.shape, generator=generator) < 0.3, self.ignored, ids)

    def _labels(self, generator: torch.Generator) -> torch.Tensor:
        order = torch.rand((*self.shape[:-1], self.classes), generator=generator).argsort(-1)
        wanted = torch.randint(self.classes + 1, (*self.shape[:-1], 1), generator=generator)
        return torch.where(torch.arange(self.classes) < wanted, order, -1)
