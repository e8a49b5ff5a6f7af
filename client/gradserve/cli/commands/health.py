"""The command that asks whether a server serves: for probes, and for people."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gradserve._options import DEFAULT_MAX_MESSAGE_BYTES, UNSET, channel_options, default_timeout
from gradserve._status import from_rpc_error
from gradserve._tls import Tls
from gradserve.cli.examples import examples
from gradserve.cli.exit_code import ExitCode
from gradserve.cli.pages.health_page import HealthPage
from gradserve.cli.pages.page import show
from gradserve.cli.settings import server_options

if TYPE_CHECKING:
    from gradserve.cli.settings import Settings

__all__ = ["health"]


@click.command(epilog=examples("gradserve health", "gradserve health digits --json | jq -r .status"))
@click.argument("name", required=False)
@server_options
@click.pass_obj
def health(settings: Settings, name: str | None) -> None:
    """Tell whether the server serves, or the model NAME, as grpc.health.v1 has it.

    The exit code is 0 for SERVING and 5 for anything else. No token is needed, and none is sent.
    """
    page = HealthPage(name, _status(settings, name))
    show(page, as_json=settings.json)
    if page.status != "SERVING":
        raise click.exceptions.Exit(ExitCode.UNAVAILABLE)


def _status(settings: Settings, name: str | None) -> str:
    """Return the name of a ServingStatus.

    Raises:
        gradserve.Error: The call failed; NotFoundError where there is no such model.
        click.UsageError: A setting, or a variable that stands for it, is wrong.
    """
    try:
        channel = _channel(settings.server)
        seconds = default_timeout(settings.timeout or UNSET, os.environ)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    except OSError as error:
        raise click.UsageError(f"cannot read {error.filename}: {error.strerror}") from None
    request = health_pb2.HealthCheckRequest(service=name or "")
    with channel:
        try:
            reply = health_pb2_grpc.HealthStub(channel).Check(request, timeout=seconds)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status))


def _channel(server: str | None) -> grpc.Channel:
    """Open a channel that does not watch the server's health: the client's own would hold back this very call."""
    tls = Tls.find(None, None, os.environ)
    options = channel_options(
        server, token="", tls=tls, max_message_bytes=DEFAULT_MAX_MESSAGE_BYTES, environ=os.environ
    )
    # http_proxy in the environment is not meant for this host.
    arguments = [("grpc.enable_http_proxy", int(not options.is_local))]
    if tls is None:
        return grpc.insecure_channel(options.target, arguments)
    return grpc.secure_channel(options.target, tls.credentials(), arguments)
