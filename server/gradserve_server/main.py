"""`gradserve serve`: from flags to a running server and an exit code."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys

from gradserve.__about__ import __version__
from gradserve_server.app import Server
from gradserve_server.config import Config, ConfigError, ServeOptions, load_config, render_config
from gradserve_server.engine.advice import ignore_advice
from gradserve_server.engine.mlp import check
from gradserve_server.errors import ServiceError
from gradserve_server.initial_models import initial_models

_OK, _FAILED, _USAGE = 0, 1, 2


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
            for new in initial_models(config):
                check(new.architecture, config.limits)
            print("the configuration is sound")
            return _OK
        asyncio.run(_run(config))
    except ConfigError as error:
        return _fail(str(error), _USAGE)
    except ServiceError as error:
        return _fail(error.text, _USAGE)
    except OSError as error:
        return _fail(str(error), _FAILED)
    return _OK


async def _run(config: Config) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    server = Server(config)
    address = await server.start()
    print(_start_line(address, server), flush=True)
    print("nothing is kept on disk: models and weights are gone when the server stops", flush=True)
    await stop.wait()
    print(f"stopping: new calls for {config.server.drain_delay:g} s more, then those in flight", flush=True)
    await server.drain()


def _start_line(address: str, server: Server) -> str:
    models = server.models()
    names = ", ".join(f"{hosted.name} ({hosted.device.name})" for hosted in models)
    count = f"{len(models)} model{'' if len(models) == 1 else 's'}"
    return f"gradserve {__version__} listening on {address}, serving {count}{': ' if names else ''}{names}"


def _fail(message: str, code: int) -> int:
    print(f"gradserve serve: {message}", file=sys.stderr)
    return code
