"""The command that measures how fast a server answers."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click
import numpy as np

from gradserve import _inference_requests as requests
from gradserve._options import DEFAULT_MAX_MESSAGE_BYTES, UNSET, ChannelOptions, channel_options, default_timeout
from gradserve._tls import Tls
from gradserve.cli.examples import examples
from gradserve.cli.load_generator.channel import open_channel
from gradserve.cli.load_generator.load import ClosedLoop, Load, OpenLoop, new_event_loop
from gradserve.cli.load_generator.summary import Summary
from gradserve.cli.load_generator.unary_call import UnaryCall
from gradserve.cli.pages.bench_pages import BenchPage, SweepPage
from gradserve.cli.pages.page import show
from gradserve.cli.progress import time_bar
from gradserve.cli.settings import connect, gathered, server_options

if TYPE_CHECKING:
    import gradserve
    from gradserve._arrays import Array
    from gradserve.cli.settings import Settings

__all__ = ["bench"]

_CONCURRENCY: Final = 8
_SWEEP: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)

_EXAMPLES = examples(
    "gradserve bench digits --concurrency 64",
    "gradserve bench digits --operation gradient --rows 32 --rate 200",
    "gradserve bench digits --sweep --seconds 2",
)


@dataclass(frozen=True, kw_only=True)
class _Options:
    """The flags, under the names that click gives them."""

    name: str
    operation: str
    rows: int
    seconds: float
    concurrency: int | None
    rate: float | None
    sweep: bool

    def __post_init__(self) -> None:
        if (self.concurrency is not None) + (self.rate is not None) + self.sweep > 1:
            raise click.UsageError("--concurrency, --rate and --sweep exclude each other.")

    def loads(self) -> list[Load]:
        """Return what to put on the server, one after the other."""
        if self.rate is not None:
            return [OpenLoop(self.rate)]
        return [
            ClosedLoop(concurrency) for concurrency in (_SWEEP if self.sweep else [self.concurrency or _CONCURRENCY])
        ]


@dataclass(frozen=True)
class _Subject:
    """What is called.

    Attributes:
        channel: How to reach the server.
        method: The RPC's path.
        request: Its message.
        timeout: Seconds for each call; None for no limit.
    """

    channel: ChannelOptions
    method: str
    request: bytes
    timeout: float | None


@click.command(epilog=_EXAMPLES, short_help="Measure how fast the server answers.")
@click.argument("name")
@click.option("--operation", type=click.Choice(["forward", "gradient"]), default="forward", show_default=True)
@click.option("--rows", type=click.IntRange(min=1), default=1, show_default=True, help="Rows of each call's input.")
@click.option(
    "--seconds", type=click.FloatRange(0, 3600, min_open=True), default=5.0, show_default=True, help="For each load."
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 1024),
    metavar="N",
    help=f"So many callers, each waiting for its answer.  [default: {_CONCURRENCY}]",
)
@click.option(
    "--rate",
    type=click.FloatRange(0, 100_000, min_open=True),
    metavar="PER_SECOND",
    help="Instead: so many calls a second at random times, whether answers have come or not.",
)
@click.option("--sweep", is_flag=True, help=f"Instead: {_SWEEP[0]} to {_SWEEP[-1]} callers, to find saturation.")
@server_options
@gathered(_Options)
def bench(settings: Settings, options: _Options) -> None:
    """Load the model NAME with calls on random input, and tell rate and latency.

    Gradient is that of the output's sum with respect to the input. With --rate, latency counts from the time at which
    a call was to be sent. Calls that fail are counted by their status, and none is tried again. All go over one
    connection, and this command takes about as much processor time as the server: on one machine, its figures are a
    lower bound.
    """
    subject = _subject(settings, options)
    results = [(load, _measure(subject, load, options)) for load in options.loads()]
    page = SweepPage if options.sweep else BenchPage
    show(page(options.name, options.operation, options.rows, results), as_json=settings.json)


def _subject(settings: Settings, options: _Options) -> _Subject:
    """Make one call with all checks, which raises what would fail each, and return it as bytes."""
    run = requests.Run(training=False, seed=None, if_version=None, deterministic=False)
    loss = requests.Objective(loss="sum", target=None, reduction=None, arguments={}, grad_output=None)
    with connect(settings) as client:
        model = client.model(options.name)
        x = _random_input(model.info().architecture, options.rows)
        if options.operation == "forward":
            model.forward(x)
            request = requests.forward(options.name, x, run).SerializeToString()
        else:
            model.gradient(x, loss="sum", wrt="input")
            wanted = requests.GradientOptions(wrt="input")
            request = requests.gradient(options.name, x, loss, run, wanted).SerializeToString()
    channel = channel_options(
        settings.server,
        token=None,
        tls=Tls.find(None, None, os.environ),
        max_message_bytes=DEFAULT_MAX_MESSAGE_BYTES,
        environ=os.environ,
    )
    timeout = default_timeout(settings.timeout or UNSET, os.environ)
    return _Subject(channel, f"/gradserve.v1.InferenceService/{options.operation.capitalize()}", request, timeout)


def _random_input(architecture: gradserve.Sequential, rows: int) -> Array:
    """Return normal random numbers of the shape that the first layer with a width takes; of one column without one."""
    shape: tuple[int, ...] = (1,)
    for layer in reversed(architecture.layers):
        for name in ("in_features", "num_features", "normalized_shape"):
            width = layer.arguments.get(name)
            if isinstance(width, int):
                shape = (width,)
            elif isinstance(width, tuple):
                shape = width
    return np.random.default_rng(0).standard_normal((rows, *shape), dtype=np.float32)


def _measure(subject: _Subject, load: Load, options: _Options) -> Summary:
    bar = time_bar(f"{options.operation} {options.name}, {load}", options.seconds)
    with bar as watch, asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(watch(_called(subject, load, options.seconds)))


async def _called(subject: _Subject, load: Load, seconds: float) -> Summary:
    token = subject.channel.token
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    async with open_channel(subject.channel) as channel:
        call = UnaryCall(channel.unary_unary(subject.method), subject.request, subject.timeout, metadata)
        # The connection is made before the clock runs.
        await call()
        return Summary.of(await load.answers(call, seconds))
