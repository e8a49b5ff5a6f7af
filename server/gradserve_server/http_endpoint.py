"""A small HTTP server beside gRPC: fixed paths, GET and HEAD, one request a connection.

It shares the event loop with the calls, so that what it says of the server's life is true, and is built so that those
who speak to it cannot hurt them: a connection has seconds to live and kilobytes to ask, and there are few of them.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias

import h11

_MOST_CONNECTIONS = 32
_MOST_HEADER_BYTES = 8192
_SECONDS = 10.0
# How many connections the system holds ready: all of those are accepted in one turn of the event loop.
_BACKLOG = 16
_PLAIN = {"content-type": "text/plain; charset=utf-8"}


@dataclass(frozen=True)
class Reply:
    """What a path answers.

    Attributes:
        status: Of HTTP.
        body: Its bytes.
        headers: By name; the length and the connection's end are added.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: _PLAIN)


Route: TypeAlias = Callable[[Mapping[str, str]], Awaitable[Reply]]
"""Answers a GET, given its headers by their names in lower case."""


class HttpEndpoint:
    """Listens from the moment it is made, and answers between `start` and `close`. Belongs to one event loop.

    Attributes:
        address: Where it listens, as "host:port" with the real port.
    """

    def __init__(self, host: str, port: int) -> None:
        """Take the port.

        Args:
            host: A name or an address; of a name with several, the first.
            port: 0 to have one chosen.

        Raises:
            OSError: If it cannot listen there.
        """
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        self._socket = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
        self.address = f"{f'[{host}]' if ':' in host else host}:{self._socket.getsockname()[1]}"
        self._server: asyncio.Server | None = None
        self._routes: Mapping[str, Route] = {}
        self._connections: dict[asyncio.Task[None], None] = {}

    async def start(self, routes: Mapping[str, Route]) -> None:
        """Answer from now on.

        Args:
            routes: What answers, by path.
        """
        self._routes = routes
        self._server = await asyncio.start_server(self._accept, sock=self._socket, backlog=_BACKLOG)

    def close(self) -> None:
        """Stop listening, and cut off whoever still waits for an answer."""
        if self._server is not None:
            self._server.close()
        self._socket.close()
        for connection in self._connections:
            connection.cancel()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= _MOST_CONNECTIONS:
            # Whoever has been here longest is the likeliest to be stuck, or to mean harm.
            oldest = next(iter(self._connections))
            del self._connections[oldest]
            oldest.cancel()
        connection = asyncio.create_task(self._serve(reader, writer))
        self._connections[connection] = None
        connection.add_done_callback(lambda ended: self._connections.pop(ended, None))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # Who has gone, or is too slow, is not told: a TimeoutError is an OSError too.
            with suppress(OSError):
                async with asyncio.timeout(_SECONDS):
                    await self._exchange(reader, writer)
        finally:
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MOST_HEADER_BYTES)
        try:
            request = await _request(http, reader)
            reply = await self._reply(request)
        except h11.RemoteProtocolError as error:
            request, reply = None, Reply(error.error_status_hint, b"not a request that is understood here\n")
        except EOFError:
            return
        headers = {**reply.headers, "content-length": str(len(reply.body)), "connection": "close"}
        writer.write(http.send(h11.Response(status_code=reply.status, headers=list(headers.items()))) or b"")
        if request is None or request.method != b"HEAD":
            writer.write(http.send(h11.Data(data=reply.body)) or b"")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def _reply(self, request: h11.Request) -> Reply:
        path = request.target.partition(b"?")[0].decode("ascii", "replace")
        if (route := self._routes.get(path)) is None:
            return Reply(404, "".join(f"{known}\n" for known in self._routes).encode())
        if request.method not in {b"GET", b"HEAD"}:
            return Reply(405, b"GET or HEAD\n", {**_PLAIN, "allow": "GET, HEAD"})
        return await route({name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers})


async def _request(http: h11.Connection, reader: asyncio.StreamReader) -> h11.Request:
    while True:
        event = http.next_event()
        if isinstance(event, h11.Request):
            return event
        if event is not h11.NEED_DATA:
            raise EOFError
        http.receive_data(await reader.read(_MOST_HEADER_BYTES))
