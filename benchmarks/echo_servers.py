"""Four servers in one process that answer each call at once: bare, and behind more and more of what a server has.

Its argument is a file of tokens.
"""

from __future__ import annotations

import asyncio
import sys
from types import SimpleNamespace
from typing import Any

import grpc

from benchmarks.echo import OPTIONS
from gradserve.v1 import inference_pb2
from gradserve_server.config import ServerConfig
from gradserve_server.metrics import Metrics
from gradserve_server.rpc import Context, handlers
from gradserve_server.security.tokens import watched_tokens
from gradserve_server.servicers.guard import Guard

METHOD = "/gradserve.v1.InferenceService/Forward"
"""What is called; it stands for any small unary method."""

KINDS = ("bare", "boundary", "counted", "guarded")
"""The servers, in the order of their addresses: each has what the one before it has, and more."""

_SERVICE = inference_pb2.DESCRIPTOR.services_by_name["InferenceService"]
_REPLY = inference_pb2.ForwardResponse(version=1)
_FACTS = ("rpc_served", "rpc_started", "rpc_received", "rpc_sent", "rpc_handled")


async def _echo(_request: inference_pb2.ForwardRequest, _context: Context) -> inference_pb2.ForwardResponse:
    return _REPLY


def _handlers(kind: str, guard: Guard) -> grpc.GenericRpcHandler:
    if kind == "bare":
        forward = grpc.unary_unary_rpc_method_handler(
            _echo,
            request_deserializer=inference_pb2.ForwardRequest.FromString,
            response_serializer=inference_pb2.ForwardResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(_SERVICE.full_name, {"Forward": forward})
    deaf: Any = SimpleNamespace(**dict.fromkeys(_FACTS, lambda _fact: None))
    servicer: object = SimpleNamespace(**{method.name: _echo for method in _SERVICE.methods})
    if kind == "guarded":
        return guard.listening(handlers(_SERVICE, guard.guarded(_SERVICE, servicer), Metrics()))
    return handlers(_SERVICE, servicer, deaf if kind == "boundary" else Metrics())


async def _serve(tokens_file: str) -> None:
    guard = Guard(watched_tokens(ServerConfig(tokens_file=tokens_file)), client_certificates=False)
    servers, targets = [], []
    for kind in KINDS:
        server = grpc.aio.server(options=OPTIONS)
        server.add_generic_rpc_handlers((_handlers(kind, guard),))
        targets.append(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
        await server.start()
        servers.append(server)
    print(f"echo listening on {';'.join(targets)}, serving nothing", flush=True)
    await asyncio.gather(*(server.wait_for_termination() for server in servers))


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
