"""Three servers in one process that answer each call at once: bare, behind the server's boundary, and counted too."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from gradserve_server.metrics import Metrics
from gradserve_server.rpc import Context, handlers

METHOD = "/grpc.health.v1.Health/Check"
"""What is called; it stands for any small unary method."""

KINDS = ("bare", "boundary", "counted")
"""The servers, in the order of their addresses."""

_HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"]
_REPLY = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
_FACTS = ("rpc_served", "rpc_started", "rpc_received", "rpc_sent", "rpc_handled")


async def _echo(_request: health_pb2.HealthCheckRequest, _context: Context) -> health_pb2.HealthCheckResponse:
    return _REPLY


def _handlers(kind: str) -> grpc.GenericRpcHandler:
    if kind == "bare":
        check = grpc.unary_unary_rpc_method_handler(
            _echo,
            request_deserializer=health_pb2.HealthCheckRequest.FromString,
            response_serializer=health_pb2.HealthCheckResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(_HEALTH.full_name, {"Check": check})
    deaf: Any = SimpleNamespace(**dict.fromkeys(_FACTS, lambda _fact: None))
    servicer = SimpleNamespace(**{method.name: _echo for method in _HEALTH.methods})
    return handlers(_HEALTH, servicer, deaf if kind == "boundary" else Metrics())


async def _serve() -> None:
    servers, targets = [], []
    for kind in KINDS:
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers((_handlers(kind),))
        targets.append(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
        await server.start()
        servers.append(server)
    print(f"echo listening on {';'.join(targets)}, serving nothing", flush=True)
    await asyncio.gather(*(server.wait_for_termination() for server in servers))


if __name__ == "__main__":
    asyncio.run(_serve())
