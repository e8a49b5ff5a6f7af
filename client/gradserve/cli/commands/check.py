"""The command that has a server check a model's derivatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from gradserve.cli.commands.computing import target_place
from gradserve.cli.examples import examples
from gradserve.cli.exit_code import ExitCode
from gradserve.cli.pages.check_page import CheckPage
from gradserve.cli.pages.page import show
from gradserve.cli.settings import connect, gathered, server_options
from gradserve.cli.tensors.reading import read_tensor
from gradserve.cli.tensors.source import check_stdin

if TYPE_CHECKING:
    from gradserve.cli.settings import Settings

__all__ = ["check"]

_EXAMPLES = examples(
    "gradserve check digits",
    "gradserve check digits x.npy --loss cross_entropy --target y.csv --seed 7",
    "gradserve check digits --json | jq '.checks[] | select(.passed | not)'",
)


@dataclass(frozen=True, kw_only=True)
class _Options:
    """The flags, under the names that click gives them."""

    name: str
    file: str | None
    loss: str | None
    target: str | None
    seed: int | None
    if_version: int | None


@click.command(epilog=_EXAMPLES, short_help="Check a model's derivatives.")
@click.argument("name")
@click.argument("file", required=False)
@click.option("--loss", metavar="NAME", help="A loss to check the gradients of.  [default: the output, weighted]")
@click.option("--target", metavar="FILE", help="What the loss compares the output with.")
@click.option("--seed", type=int, help="What directions, weights and the default input are drawn from.")
@click.option("--if-version", type=int, metavar="N", help="Only if the model is at this version.")
@server_options
@gathered(_Options)
def check(settings: Settings, options: _Options) -> None:
    """Check the derivatives of the model NAME against each other and against differences of its outputs.

    The server does so on a float64 copy, at the input in FILE, or at eight random rows without one. FILE and --target
    are as for `gradserve gradient`. The Taylor remainder of a right gradient shrinks with the square of the step, a
    rate of 2, and of a wrong one with the step, a rate of 1; the other checks tell a relative error.

    The exit code is 1 where a check has failed.
    """
    check_stdin([source for source in (options.file, options.target) if source is not None])
    page = _checked(settings, options)
    show(page, as_json=settings.json)
    if not page.checked.passed:
        raise click.exceptions.Exit(ExitCode.FAILURE)


def _checked(settings: Settings, options: _Options) -> CheckPage:
    x = None if options.file is None else read_tensor(options.file)
    target = None if options.target is None else read_tensor(options.target, target_place(options.loss))
    with connect(settings) as client:
        checked = client.model(options.name).check_gradients(
            x, target, loss=options.loss, seed=options.seed, if_version=options.if_version
        )
    return CheckPage(options.name, checked)
