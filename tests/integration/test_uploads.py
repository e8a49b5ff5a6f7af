"""Weights are written to disk as they arrive: what is kept is what was sent, and what was given up leaves nothing."""

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import torch
from safetensors.torch import save

import gradserve
from gradserve._safetensors import pack
from gradserve.v1.state_pb2 import LoadStateDictRequest, LoadStateDictResponse, StateDictTrailer
from gradserve.v1.state_pb2_grpc import StateServiceStub
from tests.support.server import RunningServer, start_server
from tests.support.weights import download, parts, send

CHUNK = 16
SECONDS = 30


def constant(value: float) -> dict[str, torch.Tensor]:
    shapes = {"layers.0.weight": (4, 3), "layers.0.bias": (4,), "layers.2.weight": (2, 4), "layers.2.bias": (2,)}
    return {key: torch.full(shape, float(value)) for key, shape in shapes.items()}


def same(value: float) -> bytes:
    """A file just as the server writes it."""
    return save(constant(value), metadata={"format": "pt"})


def other(value: float) -> bytes:
    """A file with the same tensors and another head."""
    return save(constant(value), metadata={"note": "by hand"})


@dataclass(frozen=True)
class Deployment:
    """A server with one model, "a", and the folder that the model is kept in."""

    server: RunningServer
    channel: grpc.Channel
    model: gradserve.Model
    folder: Path

    def upload(self, data: bytes, **fields: object) -> LoadStateDictResponse:
        return send(self.channel, *parts("a", data, CHUNK, **fields))

    def drafts(self) -> list[Path]:
        return list(self.folder.glob("upload-*"))

    def until_there_is_a_draft(self) -> None:
        while not self.drafts():
            self.model.info()

    def state(self) -> tuple[int, bytes, list[str]]:
        """All that an upload changes. Waits for the end of one that was cut off, as uploads of one model queue."""
        with pytest.raises(grpc.RpcError):
            self.upload(b"no file")
        downloaded = download(self.channel, "a")
        return downloaded.version, downloaded.data, sorted(path.name for path in self.folder.iterdir())


@contextmanager
def deployment(data_dir: Path) -> Iterator[Deployment]:
    flags = ("--set", "store.automatic_checkpoints=0")
    with (
        start_server(*flags, data_dir=data_dir) as server,
        gradserve.Client(server.target, timeout=SECONDS) as client,
        grpc.insecure_channel(server.target) as channel,
    ):
        if not (data_dir / "a").exists():
            client.create_model("a", gradserve.MLP(3, [4], 2))
        yield Deployment(server, channel, client.model("a"), data_dir / "a")


@pytest.fixture
def deployed(tmp_path: Path) -> Iterator[Deployment]:
    with deployment(tmp_path) as made:
        yield made


@pytest.mark.parametrize("file", [same, other])
def test_what_is_kept_is_what_is_served(deployed: Deployment, file: Callable[[float], bytes]):
    deployed.upload(file(5))
    (kept,) = deployed.folder.glob("2-*.safetensors")
    assert kept.read_bytes() == download(deployed.channel, "a").data == same(5)


def test_the_client_sends_arrays_just_as_the_server_keeps_them(deployed: Deployment):
    state = dict(reversed(deployed.model.state_dict().items()))
    assert b"".join(pack(state).pieces()) == download(deployed.channel, "a").data


def test_the_checksum_of_a_download_is_that_of_its_bytes_after_every_kind_of_change(tmp_path: Path):
    with deployment(tmp_path) as deployed:
        model = deployed.model
        changes: list[Callable[[], object]] = [
            lambda: deployed.upload(same(5)),
            lambda: model.requires_grad_("layers.0.*", False),
            lambda: deployed.upload(other(6)),
            lambda: deployed.upload(same(7), keys=["layers.0.*"]),
            lambda: model.save_checkpoint("seven"),
            lambda: deployed.upload(same(8), durable=False),
            lambda: deployed.upload(other(9), durable=False),
            lambda: model.to(dtype="float64"),
            lambda: model.to(dtype="float32"),
            lambda: deployed.upload(same(10), cast=True),
            lambda: model.load_checkpoint("seven"),
        ]
        for change in changes:
            change()
            download(deployed.channel, "a")
            download(deployed.channel, "a", keys=["layers.2.*"])
        before = download(deployed.channel, "a")
    with deployment(tmp_path) as deployed:
        assert download(deployed.channel, "a") == before


BROKEN: dict[str, Callable[[], list[LoadStateDictRequest]]] = {
    "no trailer": lambda: list(parts("a", same(5), CHUNK))[:-1],
    "another checksum": lambda: [
        *list(parts("a", same(5), CHUNK))[:-1],
        LoadStateDictRequest(trailer=StateDictTrailer(sha256=bytes(32))),
    ],
    "more bytes": lambda: list(parts("a", same(5) + b"x", CHUNK, total_bytes=len(same(5)))),
    "fewer bytes": lambda: list(parts("a", same(5)[:-1], CHUNK, total_bytes=len(same(5)))),
    "a second header": lambda: [*list(parts("a", same(5), CHUNK))[:-1], *list(parts("a", same(5)))[:1]],
    "another version": lambda: list(parts("a", same(5), CHUNK, if_version=7)),
}


@pytest.mark.parametrize("stream", BROKEN.values(), ids=BROKEN)
def test_an_upload_that_is_refused_leaves_nothing(
    deployed: Deployment, stream: Callable[[], list[LoadStateDictRequest]]
):
    before = deployed.state()
    with pytest.raises(grpc.RpcError):
        send(deployed.channel, *stream())
    assert deployed.state() == before


def test_a_client_that_goes_away_leaves_nothing(deployed: Deployment):
    before = deployed.state()

    def sent() -> Iterator[LoadStateDictRequest]:
        yield from list(parts("a", same(5), CHUNK))[:-2]
        deployed.until_there_is_a_draft()
        call.cancel()

    call = StateServiceStub(deployed.channel).LoadStateDict.future(sent(), timeout=SECONDS)
    with pytest.raises(grpc.FutureCancelledError):
        call.result()
    assert deployed.state() == before


def test_a_full_disk_refuses_the_bytes_as_they_arrive_and_changes_nothing(deployed: Deployment):
    before = deployed.state()
    process, unlimited = deployed.server.process.pid, resource.RLIM_INFINITY
    resource.prlimit(process, resource.RLIMIT_FSIZE, (len(same(5)) // 2, unlimited))

    def sent() -> Iterator[LoadStateDictRequest]:
        # Without an end: only what goes wrong before it can end this.
        yield from list(parts("a", same(5), CHUNK))[:-1]
        while call.is_active():
            deployed.model.info()

    call = StateServiceStub(deployed.channel).LoadStateDict.future(sent(), timeout=SECONDS)
    with pytest.raises(grpc.RpcError) as caught:
        call.result()
    assert (caught.value.code(), "keep a" in caught.value.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, True)
    resource.prlimit(process, resource.RLIMIT_FSIZE, (unlimited, unlimited))
    assert deployed.state() == before
    assert deployed.upload(same(5)).version == 2


def test_changes_of_the_model_leave_an_upload_alone(deployed: Deployment):
    def sent() -> Iterator[LoadStateDictRequest]:
        stream = list(parts("a", same(5), CHUNK))
        yield from stream[:-2]
        deployed.until_there_is_a_draft()
        deployed.model.requires_grad_("layers.0.*", False)
        deployed.model.save_checkpoint("before")
        yield from stream[-2:]

    assert StateServiceStub(deployed.channel).LoadStateDict(sent(), timeout=SECONDS).version == 2
    assert deployed.drafts() == []
    assert download(deployed.channel, "a").data == same(5)


def test_an_upload_to_a_model_that_was_converted_meanwhile_is_aborted_and_leaves_nothing(
    deployed: Deployment,
):
    def sent() -> Iterator[LoadStateDictRequest]:
        stream = list(parts("a", same(5), CHUNK))
        yield from stream[:-2]
        deployed.until_there_is_a_draft()
        deployed.model.to(dtype="float64")
        yield from stream[-2:]

    with pytest.raises(grpc.RpcError) as caught:
        StateServiceStub(deployed.channel).LoadStateDict(sent(), timeout=SECONDS)
    assert caught.value.code() is grpc.StatusCode.ABORTED
    assert deployed.drafts() == []
