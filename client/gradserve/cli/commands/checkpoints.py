"""The commands about the weights that a server keeps: save, load and checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gradserve.cli.examples import examples
from gradserve.cli.pages.page import show
from gradserve.cli.pages.state_pages import CheckpointsPage, LoadedPage, SavedPage
from gradserve.cli.pairs import pairs
from gradserve.cli.settings import connect, server_options

if TYPE_CHECKING:
    from gradserve.cli.settings import Settings

__all__ = ["checkpoints", "load", "save"]

_SAVE = examples(
    "gradserve save classifier v1", "gradserve save classifier v2 --note data=2026-10 --note accuracy=0.98"
)


@click.command(epilog=_SAVE)
@click.argument("name")
@click.argument("checkpoint")
@click.option(
    "--note", "notes", multiple=True, callback=pairs, metavar="NAME=TEXT", help="To keep with it; repeatable."
)
@click.option("--if-version", type=int, metavar="N", help="Only if the model is at this version.")
@server_options
@click.pass_obj
def save(
    settings: Settings, name: str, checkpoint: str, notes: tuple[tuple[str, str], ...], if_version: int | None
) -> None:
    """Keep the weights of the model NAME on the server, as CHECKPOINT."""
    with connect(settings) as client:
        saved = client.model(name).save_checkpoint(checkpoint, metadata=dict(notes), if_version=if_version)
    show(SavedPage(name, saved), as_json=settings.json)


@click.command(epilog=examples("gradserve load classifier v1"))
@click.argument("name")
@click.argument("checkpoint")
@click.option("--if-version", type=int, metavar="N", help="Only if the model is at this version.")
@server_options
@click.pass_obj
def load(settings: Settings, name: str, checkpoint: str, if_version: int | None) -> None:
    """Give the model NAME the weights of CHECKPOINT again."""
    with connect(settings) as client:
        version = client.model(name).load_checkpoint(checkpoint, if_version=if_version)
    show(LoadedPage(name, checkpoint, version), as_json=settings.json)


@click.command(
    epilog=examples(
        "gradserve checkpoints classifier", "gradserve checkpoints classifier --json | jq '.checkpoints[0].metadata'"
    )
)
@click.argument("name")
@server_options
@click.pass_obj
def checkpoints(settings: Settings, name: str) -> None:
    """List the checkpoints of the model NAME, the newest first."""
    with connect(settings) as client:
        page = CheckpointsPage(name, client.model(name).list_checkpoints())
    show(page, as_json=settings.json)
