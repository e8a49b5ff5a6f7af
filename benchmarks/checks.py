"""What must hold, whether it did, and the table that says so."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.machine import Machine

_COLUMNS = 120


@dataclass(frozen=True)
class Check:
    """One thing that must hold.

    Attributes:
        name: What it is.
        found: What was found.
        wanted: What was wanted.
        holds: Whether it holds.
    """

    name: str
    found: str
    wanted: str
    holds: bool

    @staticmethod
    def at_least(name: str, value: float, bound: float) -> Check:
        """A value is a bound or more."""
        return Check(name, f"{value:.3g}", f"≥ {bound:g}", value >= bound)

    @staticmethod
    def at_most(name: str, value: float, bound: float) -> Check:
        """A value is a bound or less."""
        return Check(name, f"{value:.3g}", f"≤ {bound:g}", value <= bound)

    @staticmethod
    def equal(name: str, value: object, expected: object) -> Check:
        """A value is what it has to be."""
        return Check(name, str(value), str(expected), value == expected)


def show(title: str, machine: Machine, checks: Sequence[Check], *, as_json: bool) -> bool:
    """Print all checks; tell whether all of them hold."""
    if as_json:
        print(json.dumps({"machine": asdict(machine), "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        table = Table(title=title, caption=str(machine), box=box.SIMPLE_HEAD, pad_edge=False)
        for heading in ("", "found", "wanted", ""):
            table.add_column(heading, justify="left", overflow="fold")
        for check in checks:
            table.add_row(check.name, check.found, check.wanted, "holds" if check.holds else "FAILS")
        # Piped into a file, a table keeps its columns.
        Console(width=None if sys.stdout.isatty() else _COLUMNS).print(table)
    return all(check.holds for check in checks)
