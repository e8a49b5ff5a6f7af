"""What is timed: bytes and weights on their way up and down."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import grpc

from benchmarks.byte_stream import CHUNK_BYTES, SERVICE
from gradserve.v1 import model_pb2, model_pb2_grpc, state_pb2, state_pb2_grpc

_MODEL = "weights"
_LAYERS = 4
_SECONDS = 600


@dataclass(frozen=True)
class ByteStream:
    """The server of bare bytes, as a client sees it."""

    channel: grpc.Channel

    def up(self, content: memoryview) -> None:
        """Send bytes."""
        call: grpc.StreamUnaryMultiCallable[bytes, bytes] = self.channel.stream_unary(f"/{SERVICE}/Up")
        call((bytes(chunk) for chunk in _chunks(content)), timeout=_SECONDS)

    def down(self, size: int) -> None:
        """Receive so many bytes."""
        call: grpc.UnaryStreamMultiCallable[bytes, bytes] = self.channel.unary_stream(f"/{SERVICE}/Down")
        _check(sum(map(len, call(b"%d" % size, timeout=_SECONDS))), size)


@dataclass(frozen=True)
class Weights:
    """A server with one large model, as a client sees it."""

    channel: grpc.Channel

    def create(self, size: int) -> None:
        """Make a model of about so many bytes."""
        width = math.isqrt(size // 4 // _LAYERS)
        mlp = model_pb2.MLP(in_features=width, hidden_features=[width] * (_LAYERS - 1), out_features=width)
        request = model_pb2.CreateModelRequest(
            name=_MODEL, architecture=model_pb2.Architecture(mlp=mlp), seed=0, device="cpu"
        )
        model_pb2_grpc.ModelServiceStub(self.channel).CreateModel(request, timeout=_SECONDS)

    def up(self, content: memoryview, sha256: bytes, *, durable: bool) -> None:
        """Load a state_dict."""
        state_pb2_grpc.StateServiceStub(self.channel).LoadStateDict(
            _request(content, sha256, durable=durable), timeout=_SECONDS
        )

    def down(self) -> None:
        """Get the state_dict, and drop it."""
        parts = self._parts()
        size = next(parts).header.total_bytes
        _check(sum(len(part.chunk) for part in parts), size)

    def fetch(self) -> tuple[bytes, bytes]:
        """The state_dict, and the checksum that the server gives of it."""
        content, sha256 = bytearray(), b""
        for part in self._parts():
            content += part.chunk
            sha256 = part.trailer.sha256
        return bytes(content), sha256

    def _parts(self) -> Iterator[state_pb2.GetStateDictResponse]:
        request = state_pb2.GetStateDictRequest(model=_MODEL)
        return iter(state_pb2_grpc.StateServiceStub(self.channel).GetStateDict(request, timeout=_SECONDS))


def _request(content: memoryview, sha256: bytes, *, durable: bool) -> Iterator[state_pb2.LoadStateDictRequest]:
    header = state_pb2.LoadStateDictHeader(model=_MODEL, total_bytes=len(content), durable=durable)
    yield state_pb2.LoadStateDictRequest(header=header)
    for chunk in _chunks(content):
        yield state_pb2.LoadStateDictRequest(chunk=bytes(chunk))
    yield state_pb2.LoadStateDictRequest(trailer=state_pb2.StateDictTrailer(sha256=sha256))


def _chunks(content: memoryview) -> Iterator[memoryview]:
    for start in range(0, len(content), CHUNK_BYTES):
        yield content[start : start + CHUNK_BYTES]


def _check(arrived: int, expected: int) -> None:
    if arrived != expected:
        raise OSError(f"{arrived} bytes came instead of {expected}")
