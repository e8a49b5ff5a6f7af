"""What every page can do, and how the right form of it is chosen."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from rich import box
from rich.console import Console
from rich.table import Table

from gradserve.cli.standard_output import is_terminal, print_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

__all__ = ["Page", "dump", "plain_table", "screen_table", "show"]


class Page(Protocol):
    """The result of one command. Only the form that is wanted is made: large tensors take time."""

    def document(self) -> dict[str, Any]:
        """Return it whole, for JSON."""

    def plain(self) -> str:
        """Return it whole as text that stays the same from version to version, for pipes and files."""

    def screen(self, width: int) -> RenderableType:
        """Return it for a reader's eyes, cut to what fits into so many columns."""


def show(page: Page, *, as_json: bool) -> None:
    """Print a page to standard output: as JSON if asked to, else for a terminal where it is one, else plain."""
    if as_json:
        print_text(dump(page.document()))
    elif is_terminal():
        console = Console(markup=False, highlight=False, emoji=False)
        with console.capture() as captured:
            console.print(page.screen(console.width), end="")
        print_text(captured.get().rstrip("\n"))
    else:
        print_text(page.plain())


def dump(document: object) -> str:
    """Return a document as one line of JSON that every reader accepts."""
    return json.dumps(document, allow_nan=False)


def plain_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table with tabs between the columns and its header in capitals."""
    lines = ["\t".join(header).upper(), *("\t".join(map(str, row)) for row in rows)]
    return "\n".join(lines)


def screen_table(header: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Sequence[str] = ()) -> Table:
    """Return a table for a terminal; the columns named in `numbers` are set to the right."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for name in header:
        table.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(str, row))
    return table
