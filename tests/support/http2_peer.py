"""The client's side of an HTTP/2 connection by hand: one that does less than a client should.

Frames are those of RFC 9113, section 4.1.
"""

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEAD = 9
_SETTINGS, _PING = 4, 6
_ACK = 1


class Http2Peer:
    """A connection that sends nothing by itself."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = b""

    def greet(self) -> None:
        """Begin as every client does: with the preface and settings."""
        self._connection.sendall(_PREFACE + _frame(_SETTINGS, 0, b""))

    def is_greeted(self, within: float) -> bool:
        """Whether the server answers the greeting with its settings, before it closes the connection."""
        return any(kind == _SETTINGS for kind, _, _ in self._frames(within))

    def answer_pings(self, count: int, within: float) -> bool:
        """Answer so many pings; give whether they came before the server closed the connection."""
        for kind, flags, payload in self._frames(within):
            if kind == _PING and not flags & _ACK:
                self._connection.sendall(_frame(_PING, _ACK, payload))
                count -= 1
            if count == 0:
                return True
        return False

    def seconds_until_closed(self, within: float) -> float:
        """Read on without an answer until the server closes the connection; give the seconds that it took.

        Raises:
            TimeoutError: If it did not.
        """
        start = time.monotonic()
        for _ in self._frames(within):
            pass
        return time.monotonic() - start

    def _frames(self, within: float) -> Iterator[tuple[int, int, bytes]]:
        end = time.monotonic() + within
        while True:
            self._connection.settimeout(max(0.001, end - time.monotonic()))
            try:
                received = self._connection.recv(65_536)
            except ConnectionResetError:
                return
            if not received:
                return
            self._received += received
            yield from self._whole_frames()

    def _whole_frames(self) -> Iterator[tuple[int, int, bytes]]:
        while len(self._received) >= _HEAD:
            high, low, kind, flags, _ = struct.unpack(">BHBBI", self._received[:_HEAD])
            size = _HEAD + (high << 16 | low)
            if len(self._received) < size:
                return
            frame, self._received = self._received[:size], self._received[size:]
            yield kind, flags, frame[_HEAD:]


@contextmanager
def http2_peer(target: str) -> Iterator[Http2Peer]:
    """Connect to a server in clear."""
    host, _, port = target.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        yield Http2Peer(connection)


def _frame(kind: int, flags: int, payload: bytes) -> bytes:
    return struct.pack(">BHBBI", 0, len(payload), kind, flags, 0) + payload
