"""The commands that move weights: push and pull."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

import gradserve
from gradserve.cli.examples import examples
from gradserve.cli.pages.page import show
from gradserve.cli.pages.state_pages import PulledPage, PushedPage
from gradserve.cli.progress import progress_bar
from gradserve.cli.settings import connect, gathered, server_options
from gradserve.cli.tensors.source import SourceError

if TYPE_CHECKING:
    from gradserve.cli.settings import Settings

__all__ = ["pull", "push"]

_PUSH = examples(
    "gradserve push classifier weights.safetensors", "gradserve push classifier head.safetensors --key 'layers.4.*'"
)
_PULL = examples(
    "gradserve pull classifier -o weights.safetensors",
    "gradserve pull classifier -o weights.safetensors --original-names",
)


@dataclass(frozen=True, kw_only=True)
class _PushOptions:
    """The flags, under the names that click gives them."""

    name: str
    file: Path
    keys: tuple[str, ...]
    strict: bool
    original_names: bool
    cast: bool
    durable: bool
    if_version: int | None


@dataclass(frozen=True, kw_only=True)
class _PullOptions:
    """The flags, under the names that click gives them."""

    name: str
    output: Path
    keys: tuple[str, ...]
    original_names: bool
    if_version: int | None


@click.command(epilog=_PUSH, short_help="Load a file's weights into a model.")
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--key", "keys", multiple=True, metavar="GLOB", help="Load only these; repeatable.  [default: all]")
@click.option("--strict/--no-strict", default=True, show_default=True, help="Whether the keys must match exactly.")
@click.option("--original-names", is_flag=True, help="The file has the names from before gradserve.deploy.")
@click.option("--cast", is_flag=True, help="Convert another floating dtype to the model's.")
@click.option("--durable/--no-durable", default=True, show_default=True, help="Whether to keep the weights on disk.")
@click.option("--if-version", type=int, metavar="N", help="Only if the model is at this version.")
@server_options
@gathered(_PushOptions)
def push(settings: Settings, options: _PushOptions) -> None:
    """Replace the weights of the model NAME by those in FILE, a safetensors file, all at once.

    Files of torch.save are never read. --timeout is for each time in which nothing moves.
    """
    with connect(settings) as client, progress_bar(f"push {options.name}") as progress:
        try:
            loaded = client.model(options.name).load_state_dict(
                options.file,
                strict=options.strict,
                keys=options.keys,
                original_names=options.original_names,
                if_version=options.if_version,
                durable=options.durable,
                cast=options.cast,
                progress=progress,
            )
        # Some of these are also an OSError.
        except gradserve.Error:
            raise
        except OSError as error:
            raise SourceError(f"cannot read {options.file}: {error.strerror}") from None
    show(PushedPage(options.name, loaded), as_json=settings.json)


@click.command(epilog=_PULL, short_help="Write a model's weights into a file.")
@click.argument("name")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, metavar="FILE", help="Where to."
)
@click.option("--key", "keys", multiple=True, metavar="GLOB", help="Write only these; repeatable.  [default: all]")
@click.option("--original-names", is_flag=True, help="Use the names from before gradserve.deploy.")
@click.option("--if-version", type=int, metavar="N", help="Only if the model is at this version.")
@server_options
@gathered(_PullOptions)
def pull(settings: Settings, options: _PullOptions) -> None:
    """Write the weights of the model NAME into a safetensors file.

    The file is there once it is whole; until then an older one stays. --timeout is for each time in which nothing
    moves.
    """
    with connect(settings) as client, progress_bar(f"pull {options.name}") as progress:
        version = client.model(options.name).save_state_dict(
            options.output,
            options.keys,
            original_names=options.original_names,
            if_version=options.if_version,
            progress=progress,
        )
    page = PulledPage(str(options.output), options.name, version, options.output.stat().st_size)
    show(page, as_json=settings.json)
