"""One server: put together, started, drained."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from gradserve_server.assembly import assemble
from gradserve_server.config import Address, Config, ConfigError
from gradserve_server.credentials import server_credentials
from gradserve_server.definitions import NewModel
from gradserve_server.errors import DeviceFailed, ServiceError
from gradserve_server.facts import Instruments
from gradserve_server.hosted import HostedModel
from gradserve_server.initial_models import initial_models
from gradserve_server.lifecycle import Phase
from gradserve_server.metrics import MetricsPage, Readings
from gradserve_server.monitoring import routes
from gradserve_server.registry import Registry
from gradserve_server.restoration import restore
from gradserve_server.security.protection import Protection

_SECONDS_TO_END = 2.0

_SECONDS_TO_TELL = 0.01
"""For the loop to end the calls that watch health: they do nothing but end."""


class Server:
    """A server from its configuration to its end: `start`, then `drain`, once each, on one event loop.

    It does not read configuration, listen to signals or print: `gradserve_server.main` does.
    """

    def __init__(self, config: Config, *listeners: Instruments) -> None:
        """Put it together.

        Args:
            config: How it is set up.
            listeners: Who is told of calls and requests, beside the server's own metrics and log.
        """
        self._config = config
        self._parts = assemble(config, listeners)

    @property
    def metrics_address(self) -> str:
        """Where metrics and HTTP health checks are served, with the real port."""
        return self._parts.http.address

    async def start(self) -> str:
        """Open the ports, create the initial models, and serve. Health says NOT_SERVING until all are warm.

        Returns:
            Where it listens, with the real port.

        Raises:
            OSError: If it cannot listen there.
            ConfigError: If an initial model is refused.
            DeviceFailed: If a device fails while they are made.
        """
        address = self._listen()
        page = MetricsPage(self._parts.audience.metrics, Readings(self._parts.registry, self._parts.lifecycle))
        await self._parts.http.start(routes(page, self._parts.lifecycle))
        await self._parts.grpc_server.start()
        try:
            kept = await restore(self._parts.registry)
            for new in initial_models(self._config):
                # What is on disk wins over configuration: also that a model was deleted.
                if new.name not in kept:
                    await _create(self._parts.registry, new)
        except BaseException as error:
            await self._stop(0.0, asyncio.Event())
            if self._parts.devices.failure.done():
                raise self._parts.devices.failure.result() from error
            raise
        self._parts.lifecycle.advance(Phase.SERVING)
        return address

    def models(self) -> list[HostedModel]:
        """The models that it serves, by name."""
        models = self._parts.registry.models()
        return [model for model in models if isinstance(model, HostedModel) and model.failure is None]

    @property
    def is_protected(self) -> bool:
        """Whether there are files of tokens or certificates."""
        return self._parts.protection != Protection(None, None)

    def reload(self) -> None:
        """Look at once whether the files of tokens and certificates have changed."""
        self._parts.protection.look()

    async def device_failure(self) -> DeviceFailed:
        """Wait until a device has failed."""
        return await asyncio.wrap_future(self._parts.devices.failure)

    async def drain(self, hurry: asyncio.Event) -> bool:
        """Stop without a failed call: say so, go on answering until callers have noticed, finish what is in flight.

        Args:
            hurry: Set to cut that short: calls in flight then end as UNAVAILABLE.

        Returns:
            Whether all that was being computed has ended; if not, the process must be ended around it.
        """
        self._parts.lifecycle.advance(Phase.DRAINING)
        self._parts.dispatcher.drain()
        with suppress(TimeoutError):
            await asyncio.wait_for(hurry.wait(), self._config.server.drain_delay)
        return await self._stop(self._config.server.drain_grace, hurry)

    async def _stop(self, grace: float, hurry: asyncio.Event) -> bool:
        self._parts.lifecycle.advance(Phase.STOPPED)
        # At gRPC's goodbye a client hangs up, and a call that ends just then is logged as a failure.
        await asyncio.sleep(_SECONDS_TO_TELL)
        self._parts.streams.stop()
        await self._end_calls(grace, hurry)
        self._parts.http.close()
        # What is still under way was cut off from its caller; a change that is being kept may need a moment.
        idle = await asyncio.to_thread(self._parts.devices.close, _SECONDS_TO_END)
        if idle:
            await self._parts.registry.settle()
            self._parts.archive.close()
        return idle

    async def _end_calls(self, grace: float, hurry: asyncio.Event) -> None:
        ending = asyncio.create_task(self._parts.grpc_server.stop(grace))
        hurrying = asyncio.create_task(hurry.wait())
        await asyncio.wait((ending, hurrying), return_when=asyncio.FIRST_COMPLETED)
        hurrying.cancel()
        if not ending.done():
            # The shorter grace of two wins.
            await self._parts.grpc_server.stop(0)
        await ending

    def _listen(self) -> str:
        listen = self._config.server.listen
        if _is_taken_socket(listen):
            raise OSError(f"cannot listen on {listen}: another server is there")
        server, certificates = self._parts.grpc_server, self._parts.protection.certificates
        try:
            if certificates is None:
                port = server.add_insecure_port(listen)
            else:
                port = server.add_secure_port(listen, server_credentials(certificates))
        except RuntimeError as error:
            doubts = "is another server there" + (", or can gRPC not use the certificate" if certificates else "")
            raise OSError(f"cannot listen on {listen}: {doubts}?") from error
        address = Address.parse(listen)
        return listen if address.port is None else f"{listen.rpartition(':')[0]}:{port}"


async def _create(registry: Registry, new: NewModel) -> None:
    try:
        await registry.create(new)
    except ServiceError as refusal:
        raise ConfigError(f"models.{new.name}: {refusal.text}") from refusal


def _is_taken_socket(listen: str) -> bool:
    """Whether somebody answers on a Unix socket: gRPC would take it away from him."""
    if Address.parse(listen).port is not None:
        return False
    path = listen.partition(":")[2].removeprefix("//")
    with socket.socket(socket.AF_UNIX) as knock:
        return knock.connect_ex(f"\0{path}" if listen.startswith("unix-abstract:") else path) == 0
