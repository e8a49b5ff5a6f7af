"""grpc.health.v1: the server as a whole under the empty name, and each model under its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TypeAlias

from grpc_health.v1 import health_pb2

from gradserve_server.changes import Changes
from gradserve_server.errors import NotFound
from gradserve_server.lifecycle import Lifecycle, Phase
from gradserve_server.registry import Registry
from gradserve_server.rpc import Context

_Status = health_pb2.HealthCheckResponse
_ServingStatus: TypeAlias = int
"""A value of HealthCheckResponse.ServingStatus."""


class HealthServicer:
    """Reads health off the lifecycle and the registry; keeps no state of its own that could differ from theirs."""

    def __init__(self, registry: Registry, lifecycle: Lifecycle, changes: Changes) -> None:
        self._registry = registry
        self._lifecycle = lifecycle
        self._changes = changes

    async def Check(  # noqa: N802 - the RPC's name
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        """Tell the health now; NOT_FOUND for what is neither empty nor a model."""
        status = self._status(request.service)
        if status == _Status.SERVICE_UNKNOWN:
            raise NotFound(f"there is no model {request.service!r}", field="service", reason="MODEL_NOT_FOUND")
        return health_pb2.HealthCheckResponse(status=status)

    async def List(  # noqa: N802 - the RPC's name
        self, request: health_pb2.HealthListRequest, context: Context
    ) -> health_pb2.HealthListResponse:
        """Tell the health of the server and of every model."""
        names = ["", *(hosted.name for hosted in self._registry.models())]
        statuses = {name: health_pb2.HealthCheckResponse(status=self._status(name)) for name in names}
        return health_pb2.HealthListResponse(statuses=statuses)

    async def Watch(  # noqa: N802 - the RPC's name
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Tell the health now and at each change, until the server stops."""
        told: _ServingStatus | None = None
        while self._lifecycle.phase is not Phase.STOPPED:
            change = self._changes.next
            if (status := self._status(request.service)) != told:
                told = status
                yield health_pb2.HealthCheckResponse(status=status)
            await change.wait()

    def _status(self, service: str) -> _ServingStatus:
        status: _ServingStatus = _Status.SERVICE_UNKNOWN
        if not service or service in self._registry:
            failed = bool(service) and self._registry.find(service).failure is not None
            serving = self._lifecycle.phase is Phase.SERVING and not failed
            status = _Status.SERVING if serving else _Status.NOT_SERVING
        return status
