"""Weights over the wire: what torch saves goes in and comes out, and what does not fit changes nothing."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import grpc
import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import nn

import gradserve
from gradserve.v1.model_pb2 import GetModelRequest
from gradserve.v1.model_pb2_grpc import ModelServiceStub
from gradserve.v1.state_pb2 import LoadStateDictRequest, StateDictTrailer
from tests.support import bad_safetensors
from tests.support.weights import download, parts, send, upload

_names = (f"weights-{number}" for number in count())


class Net(nn.Module):
    """What a user has: a module whose only child is `layers`."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2))


ARCHITECTURE = gradserve.Sequential(
    [
        gradserve.Layer("Linear", in_features=4, out_features=3),
        gradserve.Layer("BatchNorm1d", num_features=3),
        gradserve.Layer("ReLU"),
        gradserve.Layer("Linear", in_features=3, out_features=2),
    ]
)


@pytest.fixture(scope="module")
def channel(target: str) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(target, [("grpc.max_receive_message_length", -1)]) as opened:
        yield opened


@pytest.fixture
def model(client: gradserve.Client) -> Iterator[gradserve.Model]:
    """A model of the net's architecture, fresh for each test."""
    made = client.create_model(next(_names), ARCHITECTURE, seed=1, device="cpu")
    yield made
    client.delete_model(made.name)


@pytest.fixture
def local() -> Net:
    """A net that has been trained a little, so that its statistics are no longer the initial ones."""
    torch.manual_seed(3)
    net = Net()
    net.layers(torch.randn(16, 4))
    return net.eval()


def test_a_models_state_dict_loads_into_the_module_of_torch_and_computes_the_same(channel, model):
    downloaded = download(channel, model.name)
    net = Net().eval()
    net.load_state_dict(downloaded.tensors)
    x = torch.randn(5, 4)
    torch.set_num_threads(1)
    assert torch.equal(model(x, deterministic=True), net.layers(x))


@pytest.mark.parametrize("chunk", [1, 7, 100, 2**20])
def test_the_state_dict_of_torch_is_computed_with_under_the_next_version_however_it_is_cut(
    channel, model, local, chunk
):
    reply = upload(channel, model.name, local.state_dict(), chunk)
    x = torch.randn(5, 4)
    torch.set_num_threads(1)
    assert torch.equal(model(x, deterministic=True), local.layers(x))
    assert (reply.version, list(reply.missing_keys), list(reply.unexpected_keys)) == (2, [], [])


def test_buffers_are_part_of_the_state(channel, model, local):
    upload(channel, model.name, local.state_dict())
    tensors = download(channel, model.name).tensors
    assert torch.equal(tensors["layers.1.running_mean"], local.layers[1].running_mean)
    assert tensors["layers.1.num_batches_tracked"].item() == 1


def test_the_checksum_of_what_is_sent_is_that_of_weights_that_were_converted_since_they_came(channel, model):
    upload(channel, model.name, download(channel, model.name).data)
    model.to(dtype="float64")
    assert download(channel, model.name).version == 3


def test_keys_choose_what_is_sent(channel, model):
    tensors = download(channel, model.name, keys=["layers.0.*", "*.bias"]).tensors
    assert set(tensors) == {"layers.0.weight", "layers.0.bias", "layers.1.bias", "layers.3.bias"}


def test_keys_choose_what_is_loaded_and_the_rest_stays(channel, model, local):
    before = download(channel, model.name).tensors
    reply = upload(channel, model.name, local.state_dict(), keys=["layers.3.*"])
    after = download(channel, model.name).tensors
    changed = {key for key in after if not torch.equal(after[key], before[key])}
    assert (reply.version, changed) == (2, {"layers.3.weight", "layers.3.bias"})


def test_without_strict_missing_and_unexpected_keys_are_told_and_the_others_loaded(channel, model):
    state = {"layers.3.bias": torch.tensor([5.0, 6.0]), "head.weight": torch.ones(7)}
    reply = upload(channel, model.name, state, strict=False)
    assert download(channel, model.name, keys=["layers.3.bias"]).tensors["layers.3.bias"].tolist() == [5.0, 6.0]
    assert set(reply.missing_keys) == set(Net().state_dict()) - {"layers.3.bias"}
    assert list(reply.unexpected_keys) == ["head.weight"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("chunk", [1, 13, 2**20])
def test_another_dtype_is_converted_when_asked_for_as_torch_converts_it(channel, model, local, dtype, chunk):
    state = {key: value.to(dtype) if value.is_floating_point() else value for key, value in local.state_dict().items()}
    upload(channel, model.name, state, chunk, cast=True)
    tensors = download(channel, model.name).tensors
    assert all(torch.equal(tensors[key], value.to(tensors[key].dtype)) for key, value in state.items())


def test_a_request_id_makes_a_retry_safe(channel, model, local):
    first = upload(channel, model.name, local.state_dict(), request_id="once")
    again = upload(channel, model.name, local.state_dict(), request_id="once")
    assert first == again
    assert model.info().version == 2


def test_a_retry_is_answered_though_the_model_is_no_longer_at_the_version_it_expected(channel, model, local):
    first = upload(channel, model.name, local.state_dict(), request_id="once", if_version=1)
    assert upload(channel, model.name, local.state_dict(), request_id="once", if_version=1) == first


def test_a_request_id_with_other_bytes_is_refused(channel, model, local):
    upload(channel, model.name, local.state_dict(), request_id="once")
    assert refused(channel, parts(model.name, save(Net().state_dict()), request_id="once")) == "ALREADY_EXISTS"


def test_of_concurrent_uploads_each_is_whole_and_takes_a_version_of_its_own(channel, model):
    shapes = {key: value for key, value in Net().state_dict().items() if value.is_floating_point()}

    def send_constant(number: int) -> int:
        state = {key: torch.full_like(value, number) for key, value in shapes.items()}
        return upload(channel, model.name, state, strict=False).version

    with ThreadPoolExecutor(8) as senders:
        versions = sorted(senders.map(send_constant, range(8)))
    tensors = download(channel, model.name, keys=list(shapes)).tensors
    constants = {value.item() for tensor in tensors.values() for value in tensor.reshape(-1)}
    assert (versions, len(constants)) == (list(range(2, 10)), 1)


def refused(channel: grpc.Channel, stream: Iterable[LoadStateDictRequest]) -> str:
    """The status with which an upload is refused."""
    with pytest.raises(grpc.RpcError) as caught:
        send(channel, *stream)
    return caught.value.code().name


GOOD = save(Net().state_dict())
TRAILER = LoadStateDictRequest(trailer=StateDictTrailer(sha256=bytes(32)))


def changed(**tensors: torch.Tensor) -> bytes:
    return save({**Net().state_dict(), **{key.replace("_", "."): value for key, value in tensors.items()}})


BAD_FILES = {
    "a missing key": save({key: value for key, value in Net().state_dict().items() if key != "layers.3.bias"}),
    "an unexpected key": changed(extra=torch.ones(1)),
    "another shape": changed(layers_3_bias=torch.ones(3)),
    "another dtype": changed(layers_3_bias=torch.ones(2, dtype=torch.float64)),
    "integers for floats": changed(layers_3_bias=torch.ones(2, dtype=torch.int64)),
    "nothing at all": b"\0",
}


@pytest.mark.parametrize(
    "data", list({**BAD_FILES, **bad_safetensors.ATTACKS}.values()), ids=list({**BAD_FILES, **bad_safetensors.ATTACKS})
)
def test_a_file_that_does_not_fit_is_refused_and_changes_nothing(channel, model, data):
    assert_unchanged(channel, model, "INVALID_ARGUMENT", parts(model.name, data))


STREAMS = {
    "no header": lambda name: list(parts(name, GOOD))[1:],
    "two headers": lambda name: [*list(parts(name, GOOD))[:1] * 2, *list(parts(name, GOOD))[1:]],
    "an empty part": lambda name: [*list(parts(name, GOOD))[:1], LoadStateDictRequest()],
    "no trailer": lambda name: list(parts(name, GOOD))[:-1],
    "no chunk": lambda name: [*list(parts(name, GOOD))[:1], TRAILER],
    "a chunk that is too large": lambda name: parts(name, bytes(2**20 + 1), 2**20 + 1),
    "more bytes than announced": lambda name: parts(name, GOOD, total_bytes=len(GOOD) - 1),
    "fewer bytes than announced": lambda name: parts(name, GOOD, total_bytes=len(GOOD) + 1),
    "no size": lambda name: parts(name, GOOD, total_bytes=0),
    "a negative size": lambda name: parts(name, GOOD, total_bytes=-1),
    "a glob that matches nothing": lambda name: parts(name, GOOD, keys=["layers.9.*"]),
    "a long request id": lambda name: parts(name, GOOD, request_id="x" * 129),
    "nothing": lambda _: [],
}


@pytest.mark.parametrize("stream", list(STREAMS.values()), ids=list(STREAMS))
def test_a_stream_that_is_not_whole_is_refused_and_changes_nothing(channel, model, stream):
    assert_unchanged(channel, model, "INVALID_ARGUMENT", stream(model.name))


def test_bytes_that_do_not_have_their_checksum_are_data_loss(channel, model):
    assert_unchanged(channel, model, "DATA_LOSS", [*list(parts(model.name, GOOD))[:-1], TRAILER])


def test_a_write_that_expects_another_version_is_aborted(channel, model):
    assert_unchanged(channel, model, "ABORTED", parts(model.name, GOOD, if_version=2))


def test_a_read_that_expects_another_version_is_refused(channel, model):
    with pytest.raises(grpc.RpcError) as caught:
        download(channel, model.name, if_version=2)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_the_weights_of_an_unknown_model_are_not_found(channel):
    assert refused(channel, parts("nobody", GOOD)) == "NOT_FOUND"


def assert_unchanged(
    channel: grpc.Channel, model: gradserve.Model, status: str, stream: Iterable[LoadStateDictRequest]
) -> None:
    """Send an upload that must be refused, and find the model as it was."""

    def state() -> tuple[bytes, bytes, list[list[float]]]:
        described = ModelServiceStub(channel).GetModel(GetModelRequest(name=model.name)).SerializeToString()
        return described, download(channel, model.name).data, model(np.ones((1, 4), np.float32)).tolist()

    before = state()
    assert refused(channel, stream) == status
    assert state() == before
