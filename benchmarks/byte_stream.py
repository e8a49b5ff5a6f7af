"""A gRPC server that moves bytes and does nothing with them: the yardstick for what moves weights.

Its methods are `/benchmark.ByteStream/Up`, which takes a stream of bytes and answers nothing, and `Down`, which takes
a number and answers a stream of so many bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

CHUNK_BYTES = 1024**2
"""The bytes of a message, as many as of weights."""

SERVICE = "benchmark.ByteStream"
"""The service's full name."""


async def _up(chunks: AsyncIterator[bytes], _context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
    async for _ in chunks:
        pass
    return b""


async def _down(size: bytes, _context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[bytes]:
    chunk = bytes(CHUNK_BYTES)
    whole, rest = divmod(int(size), CHUNK_BYTES)
    for _ in range(whole):
        yield chunk
    yield chunk[:rest]


async def _serve() -> None:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 64 * 1024**2)])
    methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Up": grpc.stream_unary_rpc_method_handler(_up),
        "Down": grpc.unary_stream_rpc_method_handler(_down),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"byte stream listening on 127.0.0.1:{port}, serving nothing", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve())
