"""What a server keeps of very many calls: `python -m benchmarks.endurance`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from benchmarks.checks import Check, show
from benchmarks.endurance import leak, queue
from benchmarks.machine import Machine
from benchmarks.processes import CHECKOUT

_CALLS, _CANCELS, _DEADLINES = 1_000_000, 100_000, 10_000
_QUICK_SHARE = 100
_PARTS = ("leak", "queue")


def checks(options: argparse.Namespace) -> list[Check]:
    """Make the calls."""
    console = Console(stderr=True)
    share = _QUICK_SHARE if options.quick else 1
    found: list[Check] = []
    with console.status("starting") as status:
        parts: dict[str, Callable[[], list[Check]]] = {
            "leak": lambda: leak.checks(_CALLS // share, options.checkout, status.update),
            "queue": lambda: queue.checks(_CANCELS // share, _DEADLINES // share, options.checkout, status.update),
        }
        for part in options.only:
            # What took half an hour is told, whatever becomes of the rest.
            try:
                found += parts[part]()
            except OSError as error:
                found.append(Check(f"{part}: measured", str(error), "", holds=False))
    return found


def _parts(text: str) -> list[str]:
    names = text.split(",")
    if not set(names) <= set(_PARTS):
        raise argparse.ArgumentTypeError(f"{text} must be of {', '.join(_PARTS)}")
    return names


def main() -> None:
    """Make the calls; the exit code is 1 unless everything holds."""
    parser = argparse.ArgumentParser(description="What a server keeps of very many calls.")
    parser.add_argument("--only", type=_parts, default=list(_PARTS), metavar="A,B", help="some of the parts")
    parser.add_argument("--quick", action="store_true", help="a hundredth of the calls: does the program work?")
    parser.add_argument("--checkout", type=Path, default=CHECKOUT, metavar="DIR", help="the clone to measure")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    machine = Machine.here()
    raise SystemExit(not show("Endurance", machine, checks(options), as_json=options.json))


if __name__ == "__main__":
    main()
