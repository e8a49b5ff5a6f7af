"""How fast the hot path is, beside its yardsticks: `python -m benchmarks.hot_path`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from benchmarks.gradserve_process import gradserve
from benchmarks.hot_path import forward, gradient, latency
from benchmarks.hot_path.figure import Figure, Reached, measure
from benchmarks.hot_path.plot import draw
from benchmarks.hot_path.report import Report
from benchmarks.hot_path.servers import Servers
from benchmarks.machine import Machine
from benchmarks.processes import CHECKOUT, running

SECTIONS: Mapping[str, Callable[[Servers], AbstractContextManager[list[Figure]]]] = {
    section.SECTION: section.figures for section in (forward, gradient, latency)
}
"""Each part of the program, by its name: gives its figures while its own servers run."""


_COLUMNS = 140


def report(options: argparse.Namespace) -> Report:
    """Start the servers, and measure."""
    machine = Machine.here()
    with ExitStack() as stack:
        server = stack.enter_context(gradserve(checkout=options.checkout))
        servers = Servers(server, stack.enter_context(running("benchmarks.echo")))
        figures = [figure for name in options.only for figure in stack.enter_context(SECTIONS[name](servers))]
        return Report(machine, options.seconds, bool(server.metrics), _watched(figures, options))


def _watched(figures: list[Figure], options: argparse.Namespace) -> list[Reached]:
    """Measure behind a progress bar."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        measurements = sum(max(options.rounds, figure.rounds) + 1 for figure in figures)
        task = progress.add_task("", total=measurements)

        def told(description: str, done: int) -> None:
            progress.update(task, description=description, completed=done)

        return measure(figures, options.rounds, options.seconds, told)


def _names(text: str) -> list[str]:
    names = text.split(",")
    if not set(names) <= SECTIONS.keys():
        raise argparse.ArgumentTypeError(f"{text} must be of {', '.join(SECTIONS)}")
    return names


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="How fast the hot path is, beside its yardsticks.")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement (default: %(default)s)")
    parser.add_argument(
        "--only", type=_names, default=list(SECTIONS), metavar="A,B", help=f"some of {', '.join(SECTIONS)}"
    )
    parser.add_argument(
        "--checkout", type=Path, default=CHECKOUT, metavar="DIR", help="the clone whose server to measure (this one)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round there")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the figures there")
    return parser.parse_args()


def main() -> None:
    """Measure, print, and write what was asked for."""
    options = _options()
    measured = report(options)
    # Piped into a file, a table keeps its columns.
    Console(width=None if sys.stdout.isatty() else _COLUMNS).print(measured.table())
    if options.json is not None:
        options.json.write_text(json.dumps(measured.document(), indent=2))
    if options.plot is not None:
        draw(measured, options.plot)


if __name__ == "__main__":
    main()
