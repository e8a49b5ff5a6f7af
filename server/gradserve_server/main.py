"""`gradserve serve`: from flags to a running server and an exit code."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from contextlib import suppress
from enum import IntEnum

import uvloop

from gradserve.__about__ import __version__
from gradserve_server.app import Server
from gradserve_server.config import Config, ConfigError, ServeOptions, load_config, render_config
from gradserve_server.engine.advice import ignore_advice
from gradserve_server.engine.device import Devices
from gradserve_server.engine.network.mlp import check
from gradserve_server.errors import DeviceFailed, ServiceError
from gradserve_server.initial_models import initial_models
from gradserve_server.logs import start_logging
from gradserve_server.memory import collect_less
from gradserve_server.security.protection import Protection
from gradserve_server.traces import Traces, start_traces

_SECONDS_AFTER_A_FAULT = 0.5

_log = logging.getLogger(__name__)


class ExitCode(IntEnum):
    """How `gradserve serve` ends; after a second signal with 128 and its number, as programs that a signal ends."""

    OK = 0
    FAILED = 1
    USAGE = 2
    # None of those that the other commands have.
    DEVICE_FAILED = 9


def serve(options: ServeOptions) -> int:
    """Serve until SIGTERM or SIGINT, then drain.

    Returns:
        The process's exit code: 0 after a drain, 1 if the server cannot start, 2 if the configuration is refused, 9 if
        a device has failed, 128 and the signal's number if a second one has cut the drain short.
    """
    ignore_advice()
    try:
        return _obey(options)
    except ConfigError as error:
        return _fail(str(error), ExitCode.USAGE)
    except ServiceError as error:
        return _fail(error.text, ExitCode.FAILED)
    except DeviceFailed as error:
        return _fail(str(error), ExitCode.DEVICE_FAILED)
    except OSError as error:
        return _fail(str(error), ExitCode.FAILED)


def _obey(options: ServeOptions) -> int:
    config = load_config(options, os.environ)
    if options.print_config:
        print(render_config(config), end="")
        return ExitCode.OK
    start_logging(config.log)
    if options.check_config:
        Protection.of(config.server)
        _check_models(config)
        print("the configuration is sound")
        return ExitCode.OK
    # Its loop takes a tenth off what a small call costs.
    return uvloop.run(_run(config, start_traces(os.environ)))


def _check_models(config: Config) -> None:
    devices = Devices(config.compute.threads)
    for new in initial_models(config):
        try:
            check(new.architecture, config.limits)
            devices.resolve(new.device)
        except ServiceError as refusal:
            raise ConfigError(f"models.{new.name}: {refusal.text}") from refusal


class _Signals:
    """Those that end the server: the first one asks, the second one hurries."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()
        self.last = signal.SIGTERM
        for signum in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signum, self._hear, signum)

    def _hear(self, signum: signal.Signals) -> None:
        self.last = signum
        (self.hurry if self.stop.is_set() else self.stop).set()


async def _run(config: Config, traces: Traces | None) -> int:
    signals = _Signals()
    server = Server(config, *([traces.spans] if traces else []))
    if server.is_protected:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, server.reload)
    try:
        if not await _start(server, config, signals):
            return ExitCode.OK
        code, idle = await _serve(server, config, signals)
    finally:
        if traces is not None:
            await asyncio.to_thread(traces.close)
    if not idle:
        # A thread that computes cannot be stopped, and the interpreter would wait for it.
        logging.shutdown()
        os._exit(code)
    return code


async def _start(server: Server, config: Config, signals: _Signals) -> bool:
    """Start, and say where; False if a signal came first."""
    stopping = asyncio.create_task(signals.stop.wait())
    starting = asyncio.create_task(server.start())
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not starting.done():
        starting.cancel()
        await asyncio.wait([starting])
        return False
    collect_less()
    _say(_start_line(starting.result(), server))
    _say(_storage_line(config))
    _say(f"metrics and health checks on http://{server.metrics_address}")
    return True


async def _serve(server: Server, config: Config, signals: _Signals) -> tuple[int, bool]:
    """Serve until a signal comes or a device fails, then end: how, and whether nothing computes any more."""
    stopping = asyncio.create_task(signals.stop.wait())
    failing = asyncio.create_task(server.device_failure())
    await asyncio.wait((stopping, failing), return_when=asyncio.FIRST_COMPLETED)
    if failing.done():
        _log.critical("%s", failing.result())
        # Time to tell the caller who met it: he is not to try the same elsewhere.
        asyncio.get_running_loop().call_later(_SECONDS_AFTER_A_FAULT, signals.hurry.set)
    else:
        _log.info("stopping: new calls for %g s more, then those in flight", config.server.drain_delay)
    idle = await server.drain(signals.hurry)
    if not idle:
        _log.warning("stopped in the middle of a computation, whose caller was given up")
    if failing.done():
        return ExitCode.DEVICE_FAILED, idle
    if signals.hurry.is_set():
        return 128 + signals.last, idle
    return ExitCode.OK if idle else ExitCode.FAILED, idle


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
