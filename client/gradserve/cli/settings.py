"""The options that every command has, before or after its name: which server, how long to wait, and JSON."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import click

import gradserve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Settings", "connect", "gathered", "json_option", "server_options"]

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Settings:
    """What the common options say.

    Attributes:
        server: The server's address; None for what the SDK falls back on, GRADSERVE_TARGET first.
        timeout: Seconds for each call; None for what the SDK falls back on, GRADSERVE_TIMEOUT first.
        json: Whether to print JSON.
    """

    server: str | None = None
    timeout: float | None = None
    json: bool = False


@contextmanager
def connect(settings: Settings) -> Iterator[gradserve.Client]:
    """Give a client of the server that the settings name.

    Raises:
        click.UsageError: A setting, a variable that stands for it, or an argument of a call is not what the SDK takes.
    """
    try:
        with _client(settings) as client:
            yield client
    # Some of these are also a ValueError or an OSError.
    except gradserve.Error:
        raise
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _client(settings: Settings) -> gradserve.Client:
    try:
        if settings.timeout is None:
            return gradserve.Client(settings.server)
        return gradserve.Client(settings.server, timeout=settings.timeout)
    except OSError as error:
        raise click.UsageError(f"cannot read {error.filename}: {error.strerror}") from None


def json_option(command: Callable[P, T]) -> Callable[P, T]:
    """Give a command `--json`."""
    return click.option("--json", is_flag=True, expose_value=False, callback=_remember, help="Print one line of JSON.")(
        command
    )


def server_options(command: Callable[P, T]) -> Callable[P, T]:
    """Give a command `--server`, `--timeout` and `--json`."""
    server = click.option(
        "-s",
        "--server",
        metavar="HOST:PORT",
        expose_value=False,
        callback=_remember,
        help="The server.  [env: GRADSERVE_TARGET; default: localhost:50051]",
    )
    timeout = click.option(
        "--timeout",
        type=float,
        metavar="SECONDS",
        expose_value=False,
        callback=_remember,
        help="How long to wait for an answer.  [env: GRADSERVE_TIMEOUT; default: 10]",
    )
    return server(timeout(json_option(command)))


def gathered(
    options: Callable[..., T],
) -> Callable[[Callable[Concatenate[Settings, T, ...], None]], Callable[..., None]]:
    """Hand a command its settings and all its own options as one value, rather than as a dozen arguments.

    Args:
        options: Makes the value: a dataclass whose fields have the options' names.
    """

    def decorate(command: Callable[Concatenate[Settings, T, ...], None]) -> Callable[..., None]:
        @click.pass_obj
        @wraps(command)
        def call(settings: Settings, /, **values: Any) -> None:  # noqa: ANN401 - click decides their types
            command(settings, options(**values))

        return call

    return decorate


def _remember(context: click.Context, parameter: click.Parameter, value: object) -> None:
    """Keep an option that was given in the context's Settings: given after the command's name, it wins."""
    settings = context.obj or Settings()
    if isinstance(value, float) and not (math.isfinite(value) and value > 0):
        raise click.BadParameter(f"{value} is not a positive number of seconds.", context, parameter)
    context.obj = replace(settings, **{str(parameter.name): value}) if value else settings
