"""What becomes of the gradients of rows that are computed one by one: kept, measured, or clipped and summed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from gradserve_server.engine.gradients.clipping import clip_factors
from gradserve_server.operations.calls import GradientCall, PerSampleResult


class RowSink(ABC):
    """Takes the gradients of one row after the other; has seen at least one when it is asked."""

    @abstractmethod
    def take(self, gradients: Sequence[Tensor]) -> None:
        """Take the gradients of one row."""

    @abstractmethod
    def gradients(self) -> list[Tensor]:
        """What has come of them, in their order; nothing where only norms are asked for."""

    def norms(self) -> Tensor | None:
        """The norms [N] of the rows' gradients, where they are asked for."""
        return None


def row_sink(call: GradientCall, dtype: torch.dtype) -> RowSink:
    """The sink for what a request asks, with norms of a dtype."""
    match call.per_sample_result:
        case PerSampleResult.NORMS:
            return _Norms(dtype)
        case PerSampleResult.CLIPPED_SUM:
            return _ClippedSum(dtype, call.max_norm)
        case _:
            return _Full()


class _Full(RowSink):
    def __init__(self) -> None:
        self._rows: list[Sequence[Tensor]] = []

    def take(self, gradients: Sequence[Tensor]) -> None:
        self._rows.append(gradients)

    def gradients(self) -> list[Tensor]:
        return [torch.stack(column) for column in zip(*self._rows, strict=True)]


class _Norms(RowSink):
    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._norms: list[Tensor] = []

    def take(self, gradients: Sequence[Tensor]) -> None:
        self._norms.append(get_total_norm([gradient.to(self._dtype) for gradient in gradients]))

    def gradients(self) -> list[Tensor]:
        return []

    def norms(self) -> Tensor:
        return torch.stack(self._norms)


class _ClippedSum(_Norms):
    def __init__(self, dtype: torch.dtype, max_norm: float) -> None:
        super().__init__(dtype)
        self._max_norm = max_norm
        self._sums: list[Tensor] = []

    def take(self, gradients: Sequence[Tensor]) -> None:
        super().take(gradients)
        factor = clip_factors(self._norms[-1], self._max_norm)
        clipped = [gradient * factor for gradient in gradients]
        self._sums = [sum_ + own for sum_, own in zip(self._sums, clipped, strict=True)] if self._sums else clipped

    def gradients(self) -> list[Tensor]:
        return self._sums
