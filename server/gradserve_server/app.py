"""One server: put together, started, drained."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from gradserve.v1 import inference_pb2, model_pb2, state_pb2
from gradserve_server.archive import Archive
from gradserve_server.changes import Changes
from gradserve_server.checkpoints.store import open_store
from gradserve_server.config import Address, Config, ConfigError
from gradserve_server.credentials import server_credentials
from gradserve_server.definitions import NewModel
from gradserve_server.dispatcher import Dispatcher
from gradserve_server.engine.device import Devices
from gradserve_server.errors import ServiceError
from gradserve_server.hosted import HostedModel
from gradserve_server.initial_models import initial_models
from gradserve_server.lifecycle import Lifecycle, Phase
from gradserve_server.registry import Registry
from gradserve_server.restoration import restore
from gradserve_server.rpc import Gate, handlers, open_gate
from gradserve_server.security.protection import Protection
from gradserve_server.servicers.guard import Guard
from gradserve_server.servicers.health import HealthServicer
from gradserve_server.servicers.inference import InferenceServicer
from gradserve_server.servicers.models import ModelServicer
from gradserve_server.servicers.state import StateServicer

_SECONDS_TO_END = 2.0


@dataclass(frozen=True)
class _Parts:
    """What a server is made of; each knows only those above it."""

    changes: Changes
    lifecycle: Lifecycle
    devices: Devices
    archive: Archive
    registry: Registry
    protection: Protection
    grpc_server: grpc.aio.Server


class Server:
    """A server from its configuration to its end: `start`, then `drain`, once each, on one event loop.

    It does not read configuration, listen to signals or print: `gradserve_server.main` does.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._parts = _assemble(config)

    async def start(self) -> str:
        """Open the port, create the initial models, and serve. Health says NOT_SERVING until all are warm.

        Returns:
            Where it listens, with the real port.

        Raises:
            OSError: If it cannot listen there.
            ConfigError: If an initial model is refused.
        """
        address = self._listen()
        await self._parts.grpc_server.start()
        try:
            kept = await restore(self._parts.registry)
            for new in initial_models(self._config):
                # What is on disk wins over configuration: also that a model was deleted.
                if new.name not in kept:
                    await _create(self._parts.registry, new)
        except BaseException:
            await self._stop(grace=0.0)
            raise
        self._parts.lifecycle.advance(Phase.SERVING)
        return address

    def models(self) -> list[HostedModel]:
        """The models that it serves, by name."""
        return self._parts.registry.models()

    @property
    def is_protected(self) -> bool:
        """Whether there are files of tokens or certificates."""
        return self._parts.protection != Protection(None, None)

    def reload(self) -> None:
        """Look at once whether the files of tokens and certificates have changed."""
        self._parts.protection.look()

    async def drain(self) -> bool:
        """Stop without a failed call: say so, go on answering until callers have noticed, finish what is in flight.

        Returns:
            Whether all that was being computed has ended; if not, the process must be ended around it.
        """
        self._parts.lifecycle.advance(Phase.DRAINING)
        await asyncio.sleep(self._config.server.drain_delay)
        return await self._stop(self._config.server.drain_grace)

    async def _stop(self, grace: float) -> bool:
        self._parts.lifecycle.advance(Phase.STOPPED)
        await self._parts.grpc_server.stop(grace)
        # What is still under way was cut off from its caller; a change that is being kept may need a moment.
        idle = await asyncio.to_thread(self._parts.devices.close, _SECONDS_TO_END)
        if idle:
            await self._parts.registry.settle()
            self._parts.archive.close()
        return idle

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


def _assemble(config: Config) -> _Parts:
    protection = Protection.of(config.server)
    changes = Changes()
    lifecycle = Lifecycle(changes)
    devices = Devices(config.compute.threads)
    store = None if config.store.ephemeral else open_store(Path(config.store.data_dir))
    archive = Archive(store, config.store.automatic_checkpoints)
    registry = Registry(devices, config.limits, archive, changes)
    guard = Guard(protection.tokens, client_certificates=config.server.tls_client_ca is not None)
    server = grpc.aio.server(interceptors=guard.interceptors, options=_channel_options(config))
    services = (
        (
            inference_pb2.DESCRIPTOR.services_by_name["InferenceService"],
            InferenceServicer(Dispatcher(registry, config.batching), guard.identity),
        ),
        (model_pb2.DESCRIPTOR.services_by_name["ModelService"], ModelServicer(registry, guard.may_see)),
        (state_pb2.DESCRIPTOR.services_by_name["StateService"], StateServicer(registry)),
    )
    for service, servicer in services:
        _serve(server, guard, service, servicer, lifecycle.check_started)
    health = health_pb2.DESCRIPTOR.services_by_name["Health"]
    _serve(server, guard, health, HealthServicer(registry, lifecycle, changes))
    if config.server.reflection:
        described: Any = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]
        names = (*(service.full_name for service, _ in services), health.full_name, described.full_name)
        _serve(server, guard, described, reflection.aio.ReflectionServicer(names))
    return _Parts(changes, lifecycle, devices, archive, registry, protection, server)


def _serve(
    server: grpc.aio.Server, guard: Guard, service: ServiceDescriptor, servicer: object, gate: Gate = open_gate
) -> None:
    server.add_generic_rpc_handlers((handlers(service, guard.guarded(service, servicer), gate),))


def _channel_options(config: Config) -> list[tuple[str, int]]:
    connections = config.connections
    return [
        ("grpc.max_receive_message_length", config.limits.max_message_bytes),
        ("grpc.max_send_message_length", config.limits.max_message_bytes),
        # Otherwise a second server on the same port is not refused, and the two share its calls.
        ("grpc.so_reuseport", 0),
        ("grpc.max_allowed_incoming_connections", connections.max_connections),
        ("grpc.max_concurrent_streams", connections.max_concurrent_streams),
        # Between the two gRPC would refuse at random.
        ("grpc.max_metadata_size", connections.max_metadata_bytes),
        ("grpc.absolute_max_metadata_size", connections.max_metadata_bytes),
        ("grpc.server_handshake_timeout_ms", _milliseconds(connections.handshake_timeout)),
        ("grpc.max_connection_idle_ms", _milliseconds(connections.max_idle)),
        ("grpc.max_connection_age_ms", _milliseconds(connections.max_age)),
        ("grpc.max_connection_age_grace_ms", _milliseconds(connections.max_age_grace)),
        ("grpc.keepalive_time_ms", _milliseconds(connections.keepalive_time)),
        ("grpc.keepalive_timeout_ms", _milliseconds(connections.keepalive_timeout)),
        # The option above is the kernel's, for what it has sent; without this one a ping has a minute.
        ("grpc.http2.ping_timeout_ms", _milliseconds(connections.keepalive_timeout)),
        ("grpc.keepalive_permit_without_calls", 1),
        # A client may ping each minute, also without calls; twice as often is not yet abuse.
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 30_000),
    ]


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
