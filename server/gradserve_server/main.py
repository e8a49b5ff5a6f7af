"""`gradserve serve`: from flags to a running server and an exit code."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from contextlib import suppress

import uvloop

from gradserve.__about__ import __version__
from gradserve_server.app import Server
from gradserve_server.config import Config, ConfigError, ServeOptions, load_config, render_config
from gradserve_server.engine.advice import ignore_advice
from gradserve_server.engine.device import Devices
from gradserve_server.engine.mlp import check
from gradserve_server.errors import ServiceError
from gradserve_server.initial_models import initial_models
from gradserve_server.memory import keep_what_there_is
from gradserve_server.security.protection import Protection

_OK, _FAILED, _USAGE = 0, 1, 2

_log = logging.getLogger(__name__)


def serve(options: ServeOptions) -> int:
    """Serve until SIGTERM or SIGINT, then drain.

    Returns:
        The process's exit code: 0 after a drain, 1 if the server cannot start, 2 if the configuration is refused.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    ignore_advice()
    try:
        config = load_config(options, os.environ)
        if options.print_config:
            print(render_config(config), end="")
            return _OK
        if options.check_config:
            Protection.of(config.server)
            _check_models(config)
            print("the configuration is sound")
            return _OK
        # Its loop takes a tenth off what a small call costs.
        uvloop.run(_run(config))
    except ConfigError as error:
        return _fail(str(error), _USAGE)
    except ServiceError as error:
        return _fail(error.text, _FAILED)
    except OSError as error:
        return _fail(str(error), _FAILED)
    return _OK


def _check_models(config: Config) -> None:
    devices = Devices(config.compute.threads)
    for new in initial_models(config):
        try:
            check(new.architecture, config.limits)
            devices.resolve(new.device)
        except ServiceError as refusal:
            raise ConfigError(f"models.{new.name}: {refusal.text}") from refusal


async def _run(config: Config) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    server = Server(config)
    if server.is_protected:
        loop.add_signal_handler(signal.SIGHUP, server.reload)
    stopping = asyncio.create_task(stop.wait())
    starting = asyncio.create_task(server.start())
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.wait([starting])
        return
    keep_what_there_is()
    _say(_start_line(starting.result(), server))
    _say(_storage_line(config))
    _say(f"metrics and health checks on http://{server.metrics_address}")
    await stopping
    _say(f"stopping: new calls for {config.server.drain_delay:g} s more, then those in flight")
    if not await server.drain():
        # A thread that computes cannot be stopped, and the interpreter would wait for it.
        _log.warning("stopped in the middle of a computation, whose caller was given up")
        logging.shutdown()
        os._exit(_FAILED)


def _say(line: str) -> None:
    # Who started the server may have stopped reading; that is no reason to stop serving.
    with suppress(OSError):
        print(line, flush=True)


def _start_line(address: str, server: Server) -> str:
    models = server.models()
    names = ", ".join(f"{hosted.name} ({hosted.device.name})" for hosted in models)
    count = f"{len(models)} model{'' if len(models) == 1 else 's'}"
    return f"gradserve {__version__} listening on {address}, serving {count}{': ' if names else ''}{names}"


def _storage_line(config: Config) -> str:
    if config.store.ephemeral:
        return "nothing is kept on disk: models and weights are gone when the server stops"
    return f"models and weights are kept in {config.store.data_dir}"


def _fail(message: str, code: int) -> int:
    print(f"gradserve serve: {message}", file=sys.stderr)
    return code
