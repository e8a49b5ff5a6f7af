"""The command that runs the server. The server is loaded only here: calling one works without what it needs."""

from __future__ import annotations

import contextlib
import io
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gradserve.cli.examples import examples
from gradserve.cli.pages.page import dump
from gradserve.cli.settings import gathered, json_option
from gradserve.cli.standard_output import print_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradserve.cli.settings import Settings
    from gradserve_server.config import ServeOptions

__all__ = ["explained", "serve"]

_EXAMPLES = examples(
    "gradserve serve --examples", "gradserve serve --config server.toml --set models.classifier.device=cuda"
)


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn the lack of what the server needs into the advice to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith(("gradserve.", "gradserve_server.")):
            raise
        raise click.ClickException(f"{error.name} is not installed: pip install 'gradserve[server]'") from None


def _options(**flags: Any) -> ServeOptions:  # noqa: ANN401 - click decides their types
    """Return the flags, whose names are the fields of ServeOptions."""
    with explained():
        from gradserve_server.config import ServeOptions  # noqa: PLC0415 - needs the extra
    if flags["ephemeral"] and flags["data_dir"] is not None:
        raise click.UsageError("--ephemeral and --data-dir contradict each other.")
    return ServeOptions(**flags)


@click.command(epilog=_EXAMPLES, short_help="Serve models until Ctrl-C or SIGTERM.")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE.toml", help="Read the configuration here.")
@click.option(
    "--listen", metavar="HOST:PORT", help="Serve gRPC here; port 0 takes a free one.  [default: 127.0.0.1:50051]"
)
@click.option(
    "--metrics-listen",
    metavar="HOST:PORT",
    help="Serve metrics and HTTP health checks here.  [default: 127.0.0.1:9464]",
)
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="Keep the models here.")
@click.option("--ephemeral", is_flag=True, help="Keep nothing on disk.")
@click.option("--examples", is_flag=True, help="Serve logistic-regression, mlp-50-30-20-3 and digits too.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set one option of the file; repeatable.")
@click.option("--check-config", is_flag=True, help="Check the configuration and stop.")
@click.option("--print-config", is_flag=True, help="Print the configuration in force and stop; as JSON with --json.")
@json_option
@gathered(_options)
def serve(settings: Settings, options: ServeOptions) -> None:
    """Serve models until Ctrl-C or SIGTERM, and then finish what has begun.

    A flag wins over the environment (GRADSERVE_SERVER__SECTION__KEY), and that over the file.
    """
    with explained():
        from gradserve_server.main import serve as run  # noqa: PLC0415 - needs the extra, and loads torch
    if not settings.json:
        raise click.exceptions.Exit(run(options))
    if not options.print_config:
        raise click.UsageError("--json is for --print-config; a running server prints its start line.")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        code = run(options)
    if code == 0:
        print_text(dump(tomllib.loads(printed.getvalue())))
    raise click.exceptions.Exit(code)
