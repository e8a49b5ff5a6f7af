"""Progress bars, for whoever watches a terminal."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence

__all__ = ["progress_bar", "time_bar"]

T = TypeVar("T")

_TICK_SECONDS = 0.1


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on standard error while the block runs, if that is a terminal that can move its cursor.

    Args:
        label: What goes before the bar.

    Yields:
        What to call with the bytes that have gone and all that there are, from any thread.
    """
    columns = (TextColumn(label, markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with _shown((*columns, TimeRemainingColumn())) as progress:
        task = progress.add_task(label, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def time_bar(label: str, seconds: float) -> Iterator[Callable[[Awaitable[T]], Coroutine[None, None, T]]]:
    """Show a bar that fills in so many seconds, as `progress_bar` does.

    Args:
        label: What goes before the bar.
        seconds: How long it takes.

    Yields:
        What to wrap around the work: the bar moves while it is awaited.
    """
    columns = (TextColumn(label, markup=False), BarColumn(), TimeRemainingColumn())
    with _shown(columns) as progress:
        task = progress.add_task(label, total=seconds)

        async def tick() -> None:
            while True:
                await asyncio.sleep(_TICK_SECONDS)
                progress.advance(task, _TICK_SECONDS)

        async def watch(work: Awaitable[T]) -> T:
            ticking = asyncio.create_task(tick())
            try:
                return await work
            finally:
                ticking.cancel()

        yield watch


def _shown(columns: Sequence[ProgressColumn]) -> Progress:
    console = Console(stderr=True)
    hidden = not console.is_terminal or console.is_dumb_terminal
    return Progress(*columns, console=console, transient=True, disable=hidden)
