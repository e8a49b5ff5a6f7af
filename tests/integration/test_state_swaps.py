"""Weights that are replaced while others compute with them: every reply is of one version, whole.

All weights of version v are v, so that each number of a reply tells by itself which version it is of; as whole numbers
in float64 they are exact in whatever order they are added.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
import pytest
import safetensors.numpy

from gradserve import codec
from gradserve.v1 import inference_pb2, inference_pb2_grpc, model_pb2, model_pb2_grpc, state_pb2, state_pb2_grpc
from gradserve.v1.tensor_pb2 import DATA_TYPE_FLOAT64, Tensor
from tests.support.server import start_server

SWAPS = int(os.environ.get("STATE_SWAPS", "300"))
"""How often; `STATE_SWAPS=10000 pytest --timeout=0 tests/integration/test_state_swaps.py` is the full number."""

MODEL = "swapped"
WIDTH = 64
SHAPES = {
    "layers.0.weight": (WIDTH, WIDTH),
    "layers.0.bias": (WIDTH,),
    "layers.1.weight": (WIDTH, WIDTH),
    "layers.1.bias": (WIDTH,),
}
# So small that the weights come in many parts, with other calls in between.
CHUNK = 8192
READERS = 4


@dataclass
class Record:
    """What the readers met.

    Attributes:
        replies: How many of each kind.
        versions: Those that were told, in replies of each kind.
        wrong: What was wrong.
    """

    replies: Counter[str] = field(default_factory=Counter)
    versions: dict[str, set[int]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def add(self, kind: str, version: int, least: int, found: Mapping[str, set[float]]) -> None:
        """Hold a reply against what its version must give; it may not be older than the last one."""
        self.replies[kind] += 1
        self.versions.setdefault(kind, set()).add(version)
        expected = expected_values(version)
        if mixed := {name: values for name, values in found.items() if values != {expected[kind, name]}}:
            self.wrong.append(f"{kind} of version {version}: {mixed}")
        if version < least:
            self.wrong.append(f"{kind} of version {version} after {least}")


def expected_values(version: int) -> dict[tuple[str, str], float]:
    """The one value of every element of each tensor, for an input of ones and the sum of the output."""
    weight, hidden = version, (WIDTH + 1) * version
    output = WIDTH * weight * hidden + weight
    gradients = {
        "loss": WIDTH * output,
        "output": output,
        "layers.1.weight": hidden,
        "layers.1.bias": 1,
        "layers.0.weight": WIDTH * weight,
        "layers.0.bias": WIDTH * weight,
        "input": WIDTH * WIDTH * weight * weight,
    }
    return {
        ("Forward", "output"): output,
        **{("Gradient", name): value for name, value in gradients.items()},
        **{("GetStateDict", name): weight for name in SHAPES},
    }


def values(tensor: Tensor) -> set[float]:
    return set(codec.decode(tensor).ravel().tolist())


@dataclass(frozen=True)
class Caller:
    """One caller, with a channel of its own."""

    channel: grpc.aio.Channel
    record: Record

    async def read_until(self, stop: asyncio.Event, *, deterministic: bool) -> None:
        """Ask for everything in turn, as fast as the answers come."""
        least = 0
        while not stop.is_set():
            least = await self._forward(least, deterministic=deterministic)
            least = await self._gradient(least, deterministic=deterministic)
            least = await self._state_dict(least)

    async def _forward(self, least: int, *, deterministic: bool) -> int:
        request = inference_pb2.ForwardRequest(model=MODEL, input=ones(), deterministic=deterministic)
        reply = await inference_pb2_grpc.InferenceServiceStub(self.channel).Forward(request, timeout=60)
        self.record.add("Forward", reply.version, least, {"output": values(reply.output)})
        return reply.version

    async def _gradient(self, least: int, *, deterministic: bool) -> int:
        request = inference_pb2.GradientRequest(
            model=MODEL,
            input=ones(),
            loss=inference_pb2.Loss(name="sum"),
            wrt=["*", "input"],
            return_output=True,
            deterministic=deterministic,
        )
        reply = await inference_pb2_grpc.InferenceServiceStub(self.channel).Gradient(request, timeout=60)
        tensors = {**reply.gradients, "loss": reply.loss, "output": reply.output}
        self.record.add("Gradient", reply.version, least, {name: values(tensor) for name, tensor in tensors.items()})
        return reply.version

    async def _state_dict(self, least: int) -> int:
        request = state_pb2.GetStateDictRequest(model=MODEL)
        parts = [part async for part in state_pb2_grpc.StateServiceStub(self.channel).GetStateDict(request, timeout=60)]
        tensors = safetensors.numpy.load(b"".join(part.chunk for part in parts))
        found = {name: set(array.ravel().tolist()) for name, array in tensors.items()}
        self.record.add("GetStateDict", parts[0].header.version, least, found)
        return parts[0].header.version

    async def swap(self, version: int) -> None:
        """Put the weights of the next version in the place of this one's."""
        reply = await state_pb2_grpc.StateServiceStub(self.channel).LoadStateDict(parts_of(version), timeout=60)
        assert reply.version == version + 1


def ones() -> Tensor:
    return codec.encode(np.ones((1, WIDTH)))


def parts_of(version: int) -> Iterator[state_pb2.LoadStateDictRequest]:
    """The request that makes the next version of one."""
    content = safetensors.numpy.save({name: np.full(shape, version + 1.0) for name, shape in SHAPES.items()})
    header = state_pb2.LoadStateDictHeader(model=MODEL, if_version=version, total_bytes=len(content))
    yield state_pb2.LoadStateDictRequest(header=header)
    for start in range(0, len(content), CHUNK):
        yield state_pb2.LoadStateDictRequest(chunk=content[start : start + CHUNK])
    trailer = state_pb2.StateDictTrailer(sha256=hashlib.sha256(content).digest())
    yield state_pb2.LoadStateDictRequest(trailer=trailer)


@pytest.mark.slow
def test_no_reply_mixes_two_versions(tmp_path: Path) -> None:
    with start_server(data_dir=tmp_path) as server:
        record = asyncio.run(_swap_under_readers(server.target))
        log = server.log()

    assert record.wrong == []
    # The readers were there during the swaps, not only before and after.
    assert all(len(record.versions[kind]) > min(SWAPS // 10, 100) for kind in ("Forward", "Gradient", "GetStateDict"))
    assert "Traceback" not in log


async def _swap_under_readers(target: str) -> Record:
    record = Record()
    async with AsyncExitStack() as stack:
        # Channels with the same arguments would share a connection.
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)]))
            for _ in range(READERS + 1)
        ]
        writer, *readers = [Caller(channel, record) for channel in channels]
        await model_pb2_grpc.ModelServiceStub(writer.channel).CreateModel(creation(), timeout=60)
        # The first version is drawn at random; from the second on the weights tell theirs.
        await writer.swap(1)
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for number, reader in enumerate(readers):
                tasks.create_task(reader.read_until(stop, deterministic=bool(number % 2)))
            for version in range(2, SWAPS + 2):
                await writer.swap(version)
            stop.set()
    return record


def creation() -> model_pb2.CreateModelRequest:
    """Two Linear layers and nothing else."""
    linear = model_pb2.Layer(type="Linear")
    linear.arguments["in_features"].int_value = WIDTH
    linear.arguments["out_features"].int_value = WIDTH
    sequential = model_pb2.Sequential(layers=[linear, linear])
    return model_pb2.CreateModelRequest(
        name=MODEL,
        architecture=model_pb2.Architecture(sequential=sequential),
        dtype=DATA_TYPE_FLOAT64,
        device="cpu",
        seed=0,
    )
