"""All commands as one program, and the one place where errors become a line and an exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

import gradserve
from gradserve.cli.commands.bench import bench
from gradserve.cli.commands.check import check
from gradserve.cli.commands.checkpoints import checkpoints, load, save
from gradserve.cli.commands.create import create
from gradserve.cli.commands.forward import forward
from gradserve.cli.commands.gradient import gradient
from gradserve.cli.commands.health import health
from gradserve.cli.commands.models import delete, info, models
from gradserve.cli.commands.serve import serve
from gradserve.cli.commands.token import token
from gradserve.cli.commands.top import top
from gradserve.cli.commands.weights import pull, push
from gradserve.cli.exit_code import MEANINGS, ExitCode, describe, exit_code_of
from gradserve.cli.settings import Settings, server_options

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["application", "run"]

_PROGRAM = "gradserve"


class _Application(click.Group):
    """A group whose commands end with an exit code, whatever they run into."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own type
        """Invoke the command, and end with the exit code of what it raises."""
        try:
            return super().invoke(ctx)
        # Here rather than in `run`, because click itself has other ways with Ctrl-C and closed pipes.
        except (gradserve.Error, OSError, KeyboardInterrupt) as error:
            raise click.exceptions.Exit(_complain(error)) from None


@click.group(
    cls=_Application,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="\n".join(["\b", "Exit codes:", *(f"  {code:>3}  {meaning}" for code, meaning in MEANINGS.items())]),
)
@server_options
@click.version_option(gradserve.__version__, prog_name=_PROGRAM, message="%(prog)s %(version)s")
@click.pass_context
def application(context: click.Context) -> None:
    """Serve PyTorch MLPs with their gradients, and call them.

    Start with `gradserve serve --examples` in one terminal, and `gradserve models` in another.

    --server, --timeout and --json may stand before or after the command's name.
    """
    context.obj = context.obj or Settings()


_SERVING = (serve, health, token, top, bench)
_MODELS = (models, info, create, delete, forward, gradient, check, push, pull, save, load, checkpoints)
for _command in (*_SERVING, *_MODELS):
    application.add_command(_command)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; errors are one line on standard error."""
    try:
        code = application.main(list(arguments), prog_name=_PROGRAM, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return ExitCode.USAGE
    except click.Abort:
        return _complain(KeyboardInterrupt())
    except click.ClickException as error:
        return _complain(error)
    return code if isinstance(code, int) else ExitCode.OK


def _complain(error: BaseException) -> ExitCode:
    if line := describe(error):
        click.echo(f"{_PROGRAM}: {line}", err=True)
    return exit_code_of(error)
