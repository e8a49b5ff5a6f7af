"""The client's side of an HTTP/2 connection by hand: one that does less than a client should, or more.

Frames are those of RFC 9113, sections 4.1 and 6.
"""

import socket
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from hpack import Decoder, Encoder

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEAD = 9
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 8
_ACK = _END_STREAM = 1
_END_HEADERS = 4
_CANCEL = struct.pack(">I", 8)
_LARGEST_FRAME = 16_384
_WINDOW = 65_535


class Frame(NamedTuple):
    """One frame that came."""

    kind: int
    flags: int
    stream: int
    payload: bytes


class Http2Peer:
    """A connection that sends nothing by itself."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = b""
        self._decoder = Decoder()
        self._streams = 0

    def greet(self) -> None:
        """Begin as every client does: with the preface and settings."""
        self._connection.sendall(_PREFACE + _frame(_SETTINGS, 0, b""))

    def is_greeted(self, within: float) -> bool:
        """Whether the server answers the greeting with its settings, before it closes the connection."""
        return any(frame.kind == _SETTINGS for frame in self._frames(within))

    def answer_pings(self, count: int, within: float) -> bool:
        """Answer so many pings; give whether they came before the server closed the connection."""
        for frame in self._frames(within):
            if frame.kind == _PING and not frame.flags & _ACK:
                self._connection.sendall(_frame(_PING, _ACK, frame.payload))
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

    def call(self, path: str, headers: Mapping[str, str] | None = None) -> int:
        """Begin a call of gRPC, without a message; give its stream."""
        stream = self._new_stream()
        self._connection.sendall(_frame(_HEADERS, _END_HEADERS, _block(path, headers or {}), stream))
        return stream

    def call_and_reset(self, path: str, count: int) -> None:
        """Begin so many calls and take each back at once."""
        block = _block(path, {})
        streams = [self._new_stream() for _ in range(count)]
        self._connection.sendall(
            b"".join(
                _frame(_HEADERS, _END_HEADERS, block, stream) + _frame(_RST_STREAM, 0, _CANCEL, stream)
                for stream in streams
            )
        )

    def send(self, stream: int, data: bytes, within: float, *, ended: bool = False) -> None:
        """Send bytes of a call as fast as the server takes them, and whether they are all."""
        frames, windows = self._frames(within), {0: _WINDOW, stream: _WINDOW}
        for start in range(0, len(data), _LARGEST_FRAME):
            part = data[start : start + _LARGEST_FRAME]
            while min(windows.values()) < len(part):
                frame = next(frames)
                if frame.kind == _WINDOW_UPDATE:
                    windows[frame.stream] += int.from_bytes(frame.payload)
            windows = {of: room - len(part) for of, room in windows.items()}
            is_last = ended and start + len(part) == len(data)
            self._connection.sendall(_frame(_DATA, _END_STREAM if is_last else 0, part, stream))

    def status(self, stream: int, within: float) -> int | None:
        """The status with which the server ends a call; None if it resets it instead, or closes the connection."""
        for frame in self._frames(within):
            if frame.kind == _HEADERS:
                # Also those of other streams: what they say is referred to later.
                headers = dict(self._decoder.decode(frame.payload))
                if frame.stream == stream and "grpc-status" in headers:
                    return int(headers["grpc-status"])
            if (frame.kind, frame.stream) == (_RST_STREAM, stream):
                return None
        return None

    def _new_stream(self) -> int:
        self._streams += 1
        return 2 * self._streams - 1

    def _frames(self, within: float) -> Iterator[Frame]:
        end = time.monotonic() + within
        while True:
            yield from self._whole_frames()
            self._connection.settimeout(max(0.001, end - time.monotonic()))
            try:
                received = self._connection.recv(65_536)
            except ConnectionResetError:
                return
            if not received:
                return
            self._received += received

    def _whole_frames(self) -> Iterator[Frame]:
        while len(self._received) >= _HEAD:
            high, low, kind, flags, stream = struct.unpack(">BHBBI", self._received[:_HEAD])
            size = _HEAD + (high << 16 | low)
            if len(self._received) < size:
                return
            frame, self._received = self._received[:size], self._received[size:]
            yield Frame(kind, flags, stream, frame[_HEAD:])


@contextmanager
def http2_peer(target: str) -> Iterator[Http2Peer]:
    """Connect to a server in clear."""
    host, _, port = target.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        yield Http2Peer(connection)


def _frame(kind: int, flags: int, payload: bytes, stream: int = 0) -> bytes:
    return struct.pack(">BHBBI", len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream) + payload


def _block(path: str, headers: Mapping[str, str]) -> bytes:
    general = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "peer", "te": "trailers"}
    # An encoder of its own: what it says refers to nothing that was said before.
    return Encoder().encode([*general.items(), ("content-type", "application/grpc"), *headers.items()])
