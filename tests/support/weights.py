"""StateService as any client speaks it: parts of a stream, raw."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import grpc
import torch
from safetensors.torch import load, save

from gradserve.v1.state_pb2 import (
    GetStateDictRequest,
    LoadStateDictHeader,
    LoadStateDictRequest,
    LoadStateDictResponse,
    StateDictTrailer,
)
from gradserve.v1.state_pb2_grpc import StateServiceStub

_SECONDS = 30


@dataclass(frozen=True)
class Downloaded:
    """A state_dict and the version that it had."""

    version: int
    data: bytes

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """The tensors by key."""
        return load(self.data)


def download(channel: grpc.Channel, model: str, **fields: object) -> Downloaded:
    """Get a model's state_dict, and check that it is what its header and its trailer say."""
    request = GetStateDictRequest(model=model, **fields)
    first, *chunks, last = StateServiceStub(channel).GetStateDict(request, timeout=_SECONDS)
    assert all(1 <= len(part.chunk) <= 2**20 for part in chunks)
    data = b"".join(part.chunk for part in chunks)
    assert len(data) == first.header.total_bytes
    assert hashlib.sha256(data).digest() == last.trailer.sha256
    return Downloaded(first.header.version, data)


def upload(
    channel: grpc.Channel, model: str, state: dict[str, torch.Tensor] | bytes, chunk: int = 2**20, **fields: object
) -> LoadStateDictResponse:
    """Load a state_dict, or some bytes in its place, into a model."""
    data = state if isinstance(state, bytes) else save(state)
    return send(channel, *parts(model, data, chunk, **fields))


def parts(model: str, data: bytes, chunk: int = 2**20, **fields: object) -> Iterator[LoadStateDictRequest]:
    """The parts of a right upload."""
    header = {"model": model, "total_bytes": len(data), **fields}
    yield LoadStateDictRequest(header=LoadStateDictHeader(**header))
    for start in range(0, len(data), chunk):
        yield LoadStateDictRequest(chunk=data[start : start + chunk])
    yield LoadStateDictRequest(trailer=StateDictTrailer(sha256=hashlib.sha256(data).digest()))


def send(channel: grpc.Channel, *stream: LoadStateDictRequest) -> LoadStateDictResponse:
    """Send the parts of an upload, right or wrong."""
    return StateServiceStub(channel).LoadStateDict(iter(stream), timeout=_SECONDS)
