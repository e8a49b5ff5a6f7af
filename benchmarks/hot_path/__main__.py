"""How fast the hot path is, beside its yardsticks: `python -m benchmarks.hot_path`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from benchmarks.gradserve_process import gradserve
from benchmarks.hot_path import forward, gradient, latency, open_inference, peers, streams
from benchmarks.hot_path.figure import Figure, Reached, measure
from benchmarks.hot_path.plot import draw
from benchmarks.hot_path.report import Report
from benchmarks.hot_path.servers import Servers
from benchmarks.machine import Machine
from benchmarks.peers.catalogue import PEERS, Peer
from benchmarks.peers.environments import DEFAULT_FOLDER, Environments
from benchmarks.peers.process import SilentPeerError
from benchmarks.processes import CHECKOUT, running

SECTIONS = (forward.SECTION, gradient.SECTION, streams.SECTION, latency.SECTION, open_inference.SECTION, peers.SECTION)
"""The parts of the program."""

_COLUMNS = 140


def report(options: argparse.Namespace) -> Report:
    """Start the servers, and measure."""
    machine, environments = Machine.here(), Environments(options.peers_folder)
    reached: list[Reached] = []
    missing = peers.missing(environments, options.peers) if peers.SECTION in options.only else []
    with gradserve(checkout=options.checkout) as server, running("benchmarks.echo") as echo:
        # A part's own servers run only while it is measured.
        for part in _parts(Servers(server, echo), environments, options):
            try:
                with part as figures:
                    reached += _watched(figures, options)
            except SilentPeerError as error:
                missing.append(str(error))
    return Report(machine, options.seconds, reached, missing)


def _parts(
    servers: Servers, environments: Environments, options: argparse.Namespace
) -> list[AbstractContextManager[list[Figure]]]:
    parts: dict[str, list[AbstractContextManager[list[Figure]]]] = {
        forward.SECTION: [forward.figures(servers)],
        gradient.SECTION: [gradient.figures(servers)],
        streams.SECTION: [streams.figures(servers)],
        latency.SECTION: [latency.figures(servers)],
        open_inference.SECTION: [open_inference.figures(servers)],
        peers.SECTION: peers.parts(servers, environments, options.peers),
    }
    return [part for section in options.only for part in parts[section]]


def _watched(figures: Sequence[Figure], options: argparse.Namespace) -> list[Reached]:
    """Measure behind a progress bar."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=sum(max(options.rounds, figure.rounds) + 1 for figure in figures))

        def told(description: str, done: int) -> None:
            progress.update(task, description=description, completed=done)

        return measure(figures, options.rounds, options.seconds, told)


def _sections(text: str) -> list[str]:
    names = text.split(",")
    if not set(names) <= set(SECTIONS):
        raise argparse.ArgumentTypeError(f"{text} must be of {', '.join(SECTIONS)}")
    return names


def _peers(text: str) -> list[Peer]:
    found = {peer.name: peer for peer in PEERS}
    names = text.split(",")
    if not set(names) <= found.keys():
        raise argparse.ArgumentTypeError(f"{text} must be of {', '.join(found)}")
    return [found[name] for name in names]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="How fast the hot path is, beside its yardsticks.")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement (default: %(default)s)")
    parser.add_argument(
        "--only", type=_sections, default=list(SECTIONS), metavar="A,B", help=f"some of {', '.join(SECTIONS)}"
    )
    parser.add_argument(
        "--checkout", type=Path, default=CHECKOUT, metavar="DIR", help="the clone whose server to measure (this one)"
    )
    parser.add_argument("--peers", type=_peers, default=list(PEERS), metavar="A,B", help="some of the peers")
    parser.add_argument(
        "--peers-folder",
        type=Path,
        default=DEFAULT_FOLDER,
        metavar="DIR",
        help="where they are installed",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round there")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the figures there")
    return parser.parse_args()


def main() -> None:
    """Measure, print, and write what was asked for."""
    options = _options()
    measured = report(options)
    # Piped into a file, a table keeps its columns.
    Console(width=None if sys.stdout.isatty() else _COLUMNS).print(measured.table(), *measured.missing, sep="\n")
    if options.json is not None:
        options.json.write_text(json.dumps(measured.document(), indent=2))
    if options.plot is not None:
        draw(measured, options.plot)


if __name__ == "__main__":
    main()
