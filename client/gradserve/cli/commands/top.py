"""The command that shows what a server does while it does it."""

from __future__ import annotations

import itertools
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from gradserve._options import DEFAULT_TARGET
from gradserve.cli.examples import examples
from gradserve.cli.exit_code import ExitCode, one_line
from gradserve.cli.live.activity import activity
from gradserve.cli.live.scrape import ScrapeError, scrape
from gradserve.cli.pages.page import show
from gradserve.cli.pages.top_page import TopPage
from gradserve.cli.settings import connect, gathered, server_options
from gradserve.cli.standard_output import is_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradserve.cli.live.scrape import Scrape
    from gradserve.cli.settings import Settings

__all__ = ["top"]

_EVERYWHERE: Final = ("0.0.0.0", "[::]")  # noqa: S104 - nothing is bound to it
_TIMEOUT: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class _Options:
    """The flags, under the names that click gives them."""

    metrics: str | None
    interval: float
    count: int | None


class _NoMetricsError(click.ClickException):
    """The server is there, its metrics are not."""

    exit_code = ExitCode.UNAVAILABLE


@click.command(
    epilog=examples("gradserve top", "gradserve top --metrics db7:9464", "gradserve top --json --count 10"),
    short_help="Watch what the server does.",
)
@click.option(
    "--metrics", metavar="HOST:PORT", help="Where its metrics are.  [default: where the server says that they are]"
)
@click.option(
    "--interval",
    type=click.FloatRange(0, 3600, min_open=True),
    default=1.0,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option(
    "--count", type=click.IntRange(min=1), help="End after so many looks.  [default: never on a terminal, else 1]"
)
@server_options
@gathered(_Options)
def top(settings: Settings, options: _Options) -> None:
    """Show what each model of the server does: requests, latency, queue and batches, the busiest first.

    On a terminal the table is drawn anew after each interval, until Ctrl-C. All is read off the server's metrics over
    HTTP, which need no token; latencies are estimates within their histograms' buckets.
    """
    target, address = _addresses(settings, options.metrics)
    is_live = is_terminal() and not settings.json
    looks = range(options.count) if options.count else itertools.count() if is_live else range(1)
    try:
        first = scrape(address, _TIMEOUT)
    except ScrapeError as error:
        raise _NoMetricsError(f"{error}; --metrics takes another address") from None
    if is_live:
        _watch(target, address, first, options.interval, iter(looks))
        return
    for before, after in itertools.pairwise(_scrapes(address, first, options.interval, iter(looks))):
        show(TopPage(target, activity(before, after)), as_json=settings.json)


def _addresses(settings: Settings, metrics: str | None) -> tuple[str, str]:
    """Return where the server is and where its metrics are."""
    with connect(settings) as client:
        told = metrics or client.server_info().metrics_address
    target = settings.server or os.environ.get("GRADSERVE_TARGET") or DEFAULT_TARGET
    if not told:
        raise click.UsageError("the server does not tell where its metrics are; --metrics takes an address")
    host, _, port = told.rpartition(":")
    # A server that listens on every address can be reached where its calls go to.
    own = target.rpartition("/")[2].rpartition(":")[0]
    return target, f"{own}:{port}" if host in _EVERYWHERE and own else told


def _scrapes(address: str, first: Scrape, interval: float, looks: Iterator[int]) -> Iterator[Scrape]:
    yield first
    for _ in looks:
        time.sleep(interval)
        try:
            yield scrape(address, _TIMEOUT)
        except ScrapeError as error:
            raise _NoMetricsError(str(error)) from None


def _watch(target: str, address: str, before: Scrape, interval: float, looks: Iterator[int]) -> None:
    """Draw the table again and again; a server that is away for a while may come back."""
    console = Console(markup=False, highlight=False, emoji=False)
    waiting = Text(f"reading http://{address}/metrics each {interval:g} s ...")
    # To stop looking is how one leaves.
    with suppress(KeyboardInterrupt), Live(waiting, console=console, screen=True, auto_refresh=False) as live:
        for _ in looks:
            time.sleep(interval)
            try:
                after = scrape(address, _TIMEOUT)
            except ScrapeError as error:
                live.update(Text(one_line(f"{error}; trying again"), style="red"), refresh=True)
                continue
            page = TopPage(target, activity(before, after), console.height)
            live.update(page.screen(console.width), refresh=True)
            before = after
