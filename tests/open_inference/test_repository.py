"""The repository of the Open Inference Protocol: weights that are kept, checkpoints, and who may do what."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest

import gradserve
from gradserve_server.open_inference import grpc_service_pb2 as pb
from gradserve_server.open_inference.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from tests.support.server import start_server
from tests.support.tokens import TokensFile

X = np.ones((1, 3), np.float32)


@dataclass(frozen=True)
class Place:
    """A server that keeps models on disk and asks for tokens.

    Attributes:
        client: Gradserve's own, which may do anything.
        stub: The protocol's.
        authorization: The metadata with the token of a name.
    """

    client: gradserve.Client
    stub: GRPCInferenceServiceStub
    authorization: dict[str, tuple[tuple[str, str], ...]]

    def infer(self, model: str, token: str = "all") -> np.ndarray:  # noqa: S107 - a name
        """The output of NAME, or the gradient of NAME.gradient along ones."""
        tensors = {"input": X}
        if model.endswith(".gradient"):
            tensors["grad_output"] = np.ones((1, 2), np.float32)
        request = pb.ModelInferRequest(model_name=model, raw_input_contents=[x.tobytes() for x in tensors.values()])
        for name, tensor in tensors.items():
            request.inputs.add(name=name, datatype="FP32", shape=tensor.shape)
        reply = self.stub.ModelInfer(request, metadata=self.authorization[token], timeout=20)
        return np.frombuffer(reply.raw_output_contents[-1], np.float32)

    def load(self, model: str, checkpoint: str = "") -> None:
        """Load a model, or one of its checkpoints, as tritonclient does."""
        request = pb.RepositoryModelLoadRequest(model_name=model)
        if checkpoint:
            config = {"parameters": {"checkpoint": {"string_value": checkpoint}}}
            request.parameters["config"].string_param = json.dumps(config)
        self.stub.RepositoryModelLoad(request, metadata=self.authorization["all"], timeout=20)

    def unload(self, model: str, token: str = "all") -> None:  # noqa: S107 - a name
        """Unload a model."""
        request = pb.RepositoryModelUnloadRequest(model_name=model)
        self.stub.RepositoryModelUnload(request, metadata=self.authorization[token], timeout=20)

    def index(self, token: str, *, ready: bool = False) -> list[tuple[str, str]]:
        """Each model's name and state."""
        request = pb.RepositoryIndexRequest(ready=ready)
        models = self.stub.RepositoryIndex(request, metadata=self.authorization[token], timeout=20).models
        return [(model.name, model.state) for model in models]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder: Path = tmp_path_factory.mktemp("repository")
    file = TokensFile(folder / "tokens.toml")
    texts = {
        "all": file.add("all"),
        "forward": file.add("forward", ["forward"]),
        "gradient": file.add("gradient", ["gradient"]),
        "elsewhere": file.add("elsewhere", models=["other-*"]),
    }
    authorization = {name: (("authorization", f"Bearer {text}"),) for name, text in texts.items()}
    with (
        start_server(*file.flags, data_dir=folder / "data") as server,
        gradserve.Client(server.target, token=texts["all"]) as client,
        grpc.insecure_channel(server.target) as channel,
    ):
        yield Place(client, GRPCInferenceServiceStub(channel), authorization)
        assert "Traceback" not in server.log()


@pytest.fixture
def model(place: Place) -> Iterator[gradserve.Model]:
    """A model with a checkpoint of its first weights."""
    made = place.client.create_model("a", gradserve.MLP(3, [], 2), seed=1, device="cpu")
    made.save_checkpoint("first")
    yield made
    place.client.delete_model("a")


def refused(call: Callable[[], object]) -> grpc.StatusCode:
    """The status of what must be refused."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code()


def doubled(model: gradserve.Model) -> dict[str, np.ndarray]:
    return {name: 2 * array for name, array in model.state_dict().items()}


def test_loading_reads_the_weights_that_are_kept_again(place: Place, model: gradserve.Model):
    kept = place.infer("a")
    model.load_state_dict(doubled(model), durable=False)
    assert not np.array_equal(place.infer("a"), kept)
    place.load("a")
    assert np.array_equal(place.infer("a"), kept)
    assert (model.info().version, model.info().unsaved) == (3, False)


def test_loading_a_checkpoint_that_the_config_names_makes_its_weights_the_live_ones(
    place: Place, model: gradserve.Model
):
    first = place.infer("a")
    model.load_state_dict(doubled(model))
    place.load("a", "first")
    assert np.array_equal(place.infer("a"), first)
    assert refused(lambda: place.load("a", "none")) is grpc.StatusCode.NOT_FOUND


def test_an_unloaded_model_is_unavailable_to_both_protocols_until_it_is_loaded(place: Place, model: gradserve.Model):
    before = place.infer("a")
    place.unload("a")
    assert refused(lambda: place.infer("a")) is grpc.StatusCode.UNAVAILABLE
    with pytest.raises(gradserve.UnavailableError) as caught:
        model(X)
    assert caught.value.reason == "UNLOADED"
    assert (place.index("all"), place.index("all", ready=True)) == ([("a", "UNAVAILABLE")], [])
    place.load("a")
    assert place.index("all") == [("a", "READY"), ("a.gradient", "READY")]
    assert np.array_equal(place.infer("a"), before)


def test_a_name_and_its_gradient_need_the_right_of_each(place: Place, model: gradserve.Model):
    place.infer("a", "forward")
    place.infer("a.gradient", "gradient")
    denied = grpc.StatusCode.PERMISSION_DENIED
    assert refused(lambda: place.infer("a", "gradient")) is denied
    assert refused(lambda: place.infer("a.gradient", "forward")) is denied
    assert refused(lambda: place.infer("a.gradient", "elsewhere")) is denied
    assert refused(lambda: place.unload("a", "forward")) is denied


def test_a_stream_asks_of_each_request_for_the_right_of_its_name(place: Place, model: gradserve.Model):
    tensors = [
        {"name": "input", "datatype": "FP32", "shape": [1, 3]},
        {"name": "grad_output", "datatype": "FP32", "shape": [1, 2]},
    ]
    raw = [X.tobytes(), np.ones((1, 2), np.float32).tobytes()]
    allowed = pb.ModelInferRequest(model_name="a.gradient", id="1", inputs=tensors, raw_input_contents=raw)
    denied = pb.ModelInferRequest(model_name="a", id="2", inputs=tensors[:1], raw_input_contents=raw[:1])
    requests = iter([allowed, denied])
    call = place.stub.ModelStreamInfer(requests, metadata=place.authorization["gradient"], timeout=20)
    assert next(call).infer_response.id == "1"
    assert refused(lambda: next(call)) is grpc.StatusCode.PERMISSION_DENIED


def test_who_may_not_see_a_model_is_told_nothing_of_it(place: Place, model: gradserve.Model):
    assert place.index("elsewhere") == []
    statistics = pb.ModelStatisticsRequest()
    told = place.stub.ModelStatistics(statistics, metadata=place.authorization["elsewhere"], timeout=20)
    assert list(told.model_stats) == []


def test_metadata_tells_minus_one_for_a_width_that_the_layers_leave_open(place: Place):
    any_width = gradserve.Sequential([gradserve.Layer("ReLU")])
    place.client.create_model("open", any_width, dtype="bfloat16", device="cpu")
    try:
        request = pb.ModelMetadataRequest(name="open")
        told = place.stub.ModelMetadata(request, metadata=place.authorization["all"], timeout=20)
    finally:
        place.client.delete_model("open")
    tensors = [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in (*told.inputs, *told.outputs)]
    assert tensors == [("input", "BF16", [-1, -1]), ("output", "BF16", [-1, -1])]
