"""Closed-loop load from h2load, a program in C: it takes less of the processor than the servers that it drives.

It is Debian's nghttp2-client, or Homebrew's nghttp2.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import urllib.request
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import grpc

from benchmarks.channel import CHANNEL
from benchmarks.processes import pinned

_SECONDS = 600
_FRAME_HEADER = 5
_GRPC_HEADERS = ("content-type: application/grpc", "te: trailers")


@dataclass(frozen=True)
class Concurrency:
    """How many requests are in flight.

    Attributes:
        connections: How many clients, each with a connection of its own.
        streams: How many requests each keeps in flight.
    """

    connections: int
    streams: int

    @property
    def in_flight(self) -> int:
        """All together."""
        return self.connections * self.streams


@dataclass(frozen=True)
class Endpoint:
    """Where requests go, and what each says.

    Attributes:
        url: Where, without TLS.
        body: The same for each.
        headers: "name: value".
        http1: Whether the server speaks HTTP/1.1 only: then each request in flight takes a connection.
    """

    url: str
    body: bytes
    headers: tuple[str, ...]
    http1: bool = False


def grpc_endpoint(target: str, path: str, message: bytes, *metadata: str) -> Endpoint:
    """A unary gRPC method: the message goes behind a byte for no compression and four for its length.

    Args:
        target: "HOST:PORT".
        path: "/package.Service/Method".
        message: The request.
        metadata: "name: value".
    """
    body = len(message).to_bytes(_FRAME_HEADER, "big") + message
    return Endpoint(f"http://{target}{path}", body, (*_GRPC_HEADERS, *metadata))


def ask(endpoint: Endpoint) -> bytes:
    """Send one request and return the reply's message.

    Raises:
        OSError: It was not answered well by the measure of HTTP.
        grpc.RpcError: Nor by that of gRPC.
    """
    if endpoint.http1:
        request = urllib.request.Request(endpoint.url, endpoint.body, _pairs(endpoint.headers))  # noqa: S310 - HTTP
        with urllib.request.urlopen(request, timeout=_SECONDS) as reply:  # noqa: S310 - as above
            return bytes(reply.read())
    address = urlsplit(endpoint.url)
    metadata = _pairs(endpoint.headers[len(_GRPC_HEADERS) :])
    with grpc.insecure_channel(address.netloc, CHANNEL) as channel:
        method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(address.path)
        return method(endpoint.body[_FRAME_HEADER:], timeout=_SECONDS, metadata=tuple(metadata.items()))


def drive(endpoint: Endpoint, concurrency: Concurrency, requests: int) -> float:
    """Send exactly so many requests; return how many were answered each second.

    Raises:
        OSError: h2load is not there, or a request failed by the measure of HTTP; it does not know gRPC's.
    """
    with tempfile.NamedTemporaryFile() as body:
        body.write(endpoint.body)
        body.flush()
        command = ["h2load", f"--requests={requests}", *_arguments(endpoint, concurrency, body.name)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)  # noqa: S603
    return _rate(ended.stdout, requests, ended.stderr)


def flood(endpoint: Endpoint, concurrency: Concurrency, seconds: float, cores: Collection[int]) -> None:
    """Keep so many requests in flight for so long, whatever becomes of them; from these cores, if there are any."""
    with tempfile.NamedTemporaryFile() as body:
        body.write(endpoint.body)
        body.flush()
        duration = f"--duration={round(seconds * 1000)}ms"
        command = [*pinned(cores), "h2load", duration, *_arguments(endpoint, concurrency, body.name)]
        subprocess.run(command, stdout=subprocess.DEVNULL, timeout=seconds + _SECONDS, check=True)  # noqa: S603 - ours


def _arguments(endpoint: Endpoint, concurrency: Concurrency, body: str) -> list[str]:
    clients = concurrency.in_flight if endpoint.http1 else concurrency.connections
    one_at_a_time = ["--h1"] if endpoint.http1 else [f"--max-concurrent-streams={concurrency.streams}"]
    headers = [f"--header={header}" for header in endpoint.headers]
    return [f"--clients={clients}", f"--data={body}", *one_at_a_time, *headers, endpoint.url]


def _pairs(headers: Sequence[str]) -> dict[str, str]:
    return dict(header.split(": ", 1) for header in headers)


def _rate(printed: str, requests: int, complaint: str) -> float:
    found = re.search(r"finished in \S+, ([\d.]+) req/s", printed)
    statuses = re.search(r"status codes: (\d+) 2xx", printed)
    if found is None or statuses is None or int(statuses[1]) != requests:
        raise OSError(f"h2load did not get {requests} answers: {printed[-1000:]}{complaint[-1000:]}")
    return float(found[1])
