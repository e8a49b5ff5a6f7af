"""The commands about what a server holds: models, info, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gradserve.cli.examples import examples
from gradserve.cli.pages.model_pages import DeletedPage, ModelPage, ModelsPage
from gradserve.cli.pages.page import show
from gradserve.cli.pages.server_page import ServerPage
from gradserve.cli.settings import connect, server_options

if TYPE_CHECKING:
    from gradserve.cli.settings import Settings

__all__ = ["delete", "info", "models"]


@click.command(epilog=examples("gradserve models", "gradserve models --json | jq -r '.models[].name'"))
@server_options
@click.pass_obj
def models(settings: Settings) -> None:
    """List the models of the server."""
    with connect(settings) as client:
        page = ModelsPage(client.list_models())
    show(page, as_json=settings.json)


@click.command(epilog=examples("gradserve info digits", "gradserve info --json | jq .limits"))
@click.argument("name", required=False)
@server_options
@click.pass_obj
def info(settings: Settings, name: str | None) -> None:
    """Describe the model NAME, or without a name the server."""
    with connect(settings) as client:
        page = ServerPage(client.server_info()) if name is None else ModelPage(client.model(name).info())
    show(page, as_json=settings.json)


@click.command(epilog=examples("gradserve delete classifier"))
@click.argument("name")
@click.option("--if-version", type=int, metavar="N", help="Only if the model is at this version.")
@server_options
@click.pass_obj
def delete(settings: Settings, name: str, if_version: int | None) -> None:
    """Delete the model NAME from the server, without asking again."""
    with connect(settings) as client:
        version = client.delete_model(name, if_version=if_version)
    show(DeletedPage(name, version), as_json=settings.json)
