"""What a server is made of, and how its parts are put together."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import grpc
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from gradserve.v1 import inference_pb2, model_pb2, state_pb2
from gradserve_server.archive import Archive
from gradserve_server.batching import policy
from gradserve_server.changes import Changes
from gradserve_server.channel_options import channel_options
from gradserve_server.checkpoints.store import open_store
from gradserve_server.config import Address, BatchingConfig, Config
from gradserve_server.cpus import usable_cpus
from gradserve_server.dispatcher import Dispatcher
from gradserve_server.engine.device import Devices
from gradserve_server.facts import Instruments
from gradserve_server.http_endpoint import HttpEndpoint
from gradserve_server.lifecycle import Lifecycle
from gradserve_server.listeners import Listeners
from gradserve_server.logs import AccessLog, Audit
from gradserve_server.memory import keep_freed_messages
from gradserve_server.metrics import Metrics
from gradserve_server.open_inference import grpc_service_pb2
from gradserve_server.open_inference.forms import infer_forms
from gradserve_server.open_inference.inference import Inference
from gradserve_server.open_inference.servicer import OpenInferenceServicer, Sources
from gradserve_server.registry import Registry
from gradserve_server.rpc import Gate, Parse, handlers, open_gate
from gradserve_server.security.protection import Protection
from gradserve_server.servicers.forms import forward_forms, gradient_forms
from gradserve_server.servicers.guard import Guard
from gradserve_server.servicers.health import HealthServicer
from gradserve_server.servicers.inference import InferenceServicer
from gradserve_server.servicers.models import ModelServicer
from gradserve_server.servicers.state import StateServicer
from gradserve_server.servicers.streams import Streams
from gradserve_server.servicers.subjects import noted


@dataclass(frozen=True)
class Audience:
    """Who is told of what. Where a request is computed only those are whom somebody has asked for.

    Attributes:
        metrics: Counts everything, and alone is told of health checks and reflection.
        requests: Told of requests to compute.
        models: Told of the calls that read or change models, and of each change.
    """

    metrics: Metrics
    requests: Instruments
    models: Instruments


@dataclass(frozen=True)
class Parts:
    """What a server is made of; each knows only those above it."""

    changes: Changes
    lifecycle: Lifecycle
    devices: Devices
    archive: Archive
    registry: Registry
    dispatcher: Dispatcher
    protection: Protection
    audience: Audience
    http: HttpEndpoint
    streams: Streams
    grpc_server: grpc.aio.Server


def assemble(config: Config, listeners: tuple[Instruments, ...]) -> Parts:
    """Put a server together.

    Args:
        config: How it is set up.
        listeners: Who is told of calls and requests, beside the server's own metrics and log.
    """
    protection = Protection.of(config.server)
    guard = Guard(protection.tokens, client_certificates=config.server.tls_client_ca is not None)
    audience = _audience(config, guard, listeners)
    keep_freed_messages()
    changes = Changes()
    lifecycle = Lifecycle(changes)
    devices = Devices(config.compute.threads)
    store = None if config.store.ephemeral else open_store(Path(config.store.data_dir))
    archive = Archive(store, config.store.automatic_checkpoints)
    registry = Registry(devices, config.limits, archive, changes, audience.models)
    http = _http_endpoint(config.server.metrics_listen)
    streams = Streams(config.limits.max_stream_requests)
    server = grpc.aio.server(options=channel_options(config))
    dispatcher = Dispatcher(registry, _batching(config), audience.requests)
    parts = Parts(
        changes, lifecycle, devices, archive, registry, dispatcher, protection, audience, http, streams, server
    )
    _add_services(parts, guard, config)
    return parts


def _batching(config: Config) -> BatchingConfig:
    return replace(config.batching, busy_poll=policy.busy_poll(config.batching.busy_poll, usable_cpus()))


def _audience(config: Config, guard: Guard, listeners: tuple[Instruments, ...]) -> Audience:
    metrics, audit = Metrics(), Audit(guard.identity)
    if config.log.writes_requests:
        level = logging.INFO if config.log.requests else logging.DEBUG
        listeners = (*listeners, AccessLog(level, guard.identity))
    requests = Listeners(metrics, *listeners) if listeners else metrics
    return Audience(metrics, requests, Listeners(metrics, audit, *listeners))


def _add_services(parts: Parts, guard: Guard, config: Config) -> None:
    audience = parts.audience
    own = _own_services(parts, guard, config)
    health = health_pb2.DESCRIPTOR.services_by_name["Health"]
    # These answer while the server starts, too.
    general: dict[Any, object] = {health: HealthServicer(parts.registry, parts.lifecycle, parts.changes)}
    if config.server.reflection:
        reflected = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]
        names = (service.full_name for service in (*own, *general, reflected))
        general[reflected] = reflection.aio.ReflectionServicer(tuple(names))
    for service, (servicer, told, gate, parsers) in own.items():
        guarded, named = guard.guarded(service, servicer), told is not audience.metrics
        if named:
            guarded = noted(service, guarded)
        handler = handlers(service, guarded, told, gate, named=named, parsers=parsers)
        parts.grpc_server.add_generic_rpc_handlers((guard.listening(handler),))
    for service, servicer in general.items():
        handler = handlers(service, guard.guarded(service, servicer), audience.metrics, open_gate)
        parts.grpc_server.add_generic_rpc_handlers((guard.listening(handler),))


class _Service(NamedTuple):
    """A servicer of models, who is told of its calls, what lets these in, and how their requests are parsed."""

    servicer: object
    told: Instruments
    gate: Gate
    parsers: Mapping[str, Parse] = MappingProxyType({})


def _own_services(parts: Parts, guard: Guard, config: Config) -> Mapping[Any, _Service]:
    audience, gate = parts.audience, parts.lifecycle.check_started
    inference = InferenceServicer(parts.dispatcher, parts.streams, guard.identity)
    models = ModelServicer(parts.registry, guard.may_see, parts.http.address)
    sources = Sources(parts.registry, parts.lifecycle, audience.metrics, config.batching, guard.may_see)
    translated = Inference(parts.dispatcher, parts.streams, guard.identity)
    open_inference = OpenInferenceServicer(sources, translated)
    return {
        inference_pb2.DESCRIPTOR.services_by_name["InferenceService"]: _Service(
            inference, audience.requests, gate, {"Forward": forward_forms().parse, "Gradient": gradient_forms().parse}
        ),
        model_pb2.DESCRIPTOR.services_by_name["ModelService"]: _Service(models, audience.models, gate),
        state_pb2.DESCRIPTOR.services_by_name["StateService"]: _Service(
            StateServicer(parts.registry), audience.models, gate
        ),
        # It tells whether the server is ready also while that starts.
        grpc_service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]: _Service(
            open_inference, audience.models, open_gate, {"ModelInfer": infer_forms().parse}
        ),
    }


def _http_endpoint(listen: str) -> HttpEndpoint:
    address = Address.parse(listen)
    try:
        return HttpEndpoint(address.host, address.port or 0)
    except OSError as error:
        message = f"cannot listen on {listen} for metrics: {error.strerror}; --metrics-listen takes another address"
        raise OSError(message) from error
