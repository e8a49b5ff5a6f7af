"""What a server does under five times its load: `python -m benchmarks.overload`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from rich.console import Console

from benchmarks.checks import Check, show
from benchmarks.gradserve_process import gradserve
from benchmarks.machine import Machine
from benchmarks.overload.scenes import Stage, greedy, heavy, light
from benchmarks.processes import CHECKOUT, running

_SCENES = {"heavy": heavy, "greedy": greedy, "light": light}
_SECONDS, _AFTER_SECONDS = 60.0, 10.0
_QUICK_SECONDS, _QUICK_AFTER_SECONDS = 3.0, 6.0


def checks(options: argparse.Namespace) -> list[Check]:
    """Play each scene on a server of its own, which has all cores but the one of the load generator."""
    *others, generator = sorted(os.sched_getaffinity(0))
    seconds = _QUICK_SECONDS if options.quick else _SECONDS
    after = _QUICK_AFTER_SECONDS if options.quick else _AFTER_SECONDS
    own = (generator,) if others else ()
    console = Console(stderr=True)
    found: list[Check] = []
    for name in options.only:
        with (
            console.status(f"{name}: {seconds:.0f} s of overload"),
            gradserve(checkout=options.checkout, cores=others) as server,
            running("benchmarks.echo", cores=others) as echo,
        ):
            found += _SCENES[name](Stage(server, echo, own, seconds, after))
    return found


def _scenes(text: str) -> list[str]:
    names = text.split(",")
    if not set(names) <= _SCENES.keys():
        raise argparse.ArgumentTypeError(f"{text} must be of {', '.join(_SCENES)}")
    return names


def main() -> None:
    """Play the scenes; the exit code is 1 unless everything holds."""
    parser = argparse.ArgumentParser(description="What a server does under five times its load.")
    parser.add_argument("--only", type=_scenes, default=list(_SCENES), metavar="A,B", help="some of the scenes")
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes: does the program work?")
    parser.add_argument("--checkout", type=Path, default=CHECKOUT, metavar="DIR", help="the clone to measure")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    machine = Machine.here()
    raise SystemExit(not show("Overload", machine, checks(options), as_json=options.json))


if __name__ == "__main__":
    main()
