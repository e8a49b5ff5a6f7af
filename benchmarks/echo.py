"""A gRPC server that answers any bytes with bytes that it made before: the ceiling of what its library can do.

Its methods are `/benchmark.Echo/<n>`, for any n: the reply's size in bytes. Those of streams, which answer each message
before they read the next, are `/benchmark.Echo/stream-<n>`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc

SERVICE = "benchmark.Echo"
"""The service's full name."""

OPTIONS = [
    ("grpc.max_receive_message_length", 64 * 1024**2),
    ("grpc.max_send_message_length", 64 * 1024**2),
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", 1024),
]
"""Those of Gradserve that bear on speed."""


class Echo(grpc.GenericRpcHandler):
    """A method for each size of a reply, made when it is first called."""

    def __init__(self) -> None:
        self._methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {}

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        """Give the method; None for one of another service."""
        method = self._methods.get(details.method)
        if method is None and details.method.startswith(f"/{SERVICE}/"):
            kind, _, size = details.method.rpartition("/")[2].rpartition("-")
            reply = bytes(int(size))
            method = self._methods[details.method] = _stream(reply) if kind == "stream" else _method(reply)
        return method


def _method(reply: bytes) -> grpc.RpcMethodHandler[bytes, bytes]:
    async def answer(_request: bytes, _context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        return reply

    return grpc.unary_unary_rpc_method_handler(answer)


def _stream(reply: bytes) -> grpc.RpcMethodHandler[bytes, bytes]:
    async def answers(
        requests: AsyncIterator[bytes], _context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> AsyncIterator[bytes]:
        async for _ in requests:
            yield reply

    return grpc.stream_stream_rpc_method_handler(answers)


async def _serve() -> None:
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((Echo(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"echo listening on 127.0.0.1:{port}, serving nothing", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve())
