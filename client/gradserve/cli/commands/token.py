"""The command that makes a token for those who call a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gradserve.cli.commands.serve import explained
from gradserve.cli.examples import examples
from gradserve.cli.pages.page import dump
from gradserve.cli.settings import json_option
from gradserve.cli.standard_output import print_text

if TYPE_CHECKING:
    from gradserve.cli.settings import Settings

__all__ = ["token"]

_EXAMPLES = examples(
    "gradserve token sampler --rights forward,gradient >> tokens.toml",
    "gradserve token trainer --rights gradient,weights:write --models 'surrogate-*' --json",
)


@click.command(epilog=_EXAMPLES)
@click.argument("name")
@click.option("--rights", required=True, metavar="RIGHT,...", help="What its bearer may do.")
@click.option("--models", multiple=True, metavar="GLOB", help="Only with these models; repeatable.  [default: all]")
@json_option
@click.pass_obj
def token(settings: Settings, name: str, rights: str, models: tuple[str, ...]) -> None:
    """Make a token called NAME: a line for the server's file of tokens, and a text for its bearer.

    The line goes to standard output. The text goes to standard error; it is shown this once and kept nowhere.

    The rights are forward, gradient, weights:read, weights:write and models:write.
    """
    with explained():
        from gradserve_server.config import make_token  # noqa: PLC0415 - needs the extra
    try:
        made = make_token(name, rights.split(","), models or ("*",))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if settings.json:
        print_text(dump({"name": name, "token": made.text, "line": made.line}))
        return
    print_text(made.line)
    click.echo(f"the token, shown only now: {made.text}", err=True)
