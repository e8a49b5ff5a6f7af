"""Who is told how far a transfer is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int], None]
"""Told, after each chunk, how many bytes have gone and how many there are; an attempt that failed starts again at 0."""


def silent(_done: int, _total: int, /) -> None:
    """Tell nobody about the progress."""
