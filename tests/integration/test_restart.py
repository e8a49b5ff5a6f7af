"""What was acknowledged is there after a kill and a restart; what cannot be served says why, and the others serve."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import pytest
import torch
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

import gradserve
from gradserve.v1.state_pb2 import (
    DeleteCheckpointRequest,
    ListCheckpointsRequest,
    LoadCheckpointRequest,
    SaveCheckpointRequest,
)
from gradserve.v1.state_pb2_grpc import StateServiceStub
from gradserve_server.checkpoints.store import open_store
from tests.support.server import start_server
from tests.support.weights import download, upload

MLP = gradserve.MLP(3, [4], 2)
SECONDS = 30


@contextmanager
def serving(data_dir: Path, *args: str, config: str | None = None) -> Iterator[tuple[gradserve.Client, grpc.Channel]]:
    """A server on a folder, which ends as by a power button."""
    with (
        start_server(*args, data_dir=data_dir, config=config) as server,
        gradserve.Client(server.target) as client,
        grpc.insecure_channel(server.target) as channel,
    ):
        yield client, channel
        server.process.kill()
        server.process.wait()


def constant(value: float) -> dict[str, torch.Tensor]:
    shapes = {"layers.0.weight": (4, 3), "layers.0.bias": (4,), "layers.2.weight": (2, 4), "layers.2.bias": (2,)}
    return {key: torch.full(shape, float(value)) for key, shape in shapes.items()}


def live(channel: grpc.Channel, model: str) -> set[float]:
    return {value for tensor in download(channel, model).tensors.values() for value in tensor.reshape(-1).tolist()}


def test_models_weights_flags_and_versions_survive_a_kill(tmp_path):
    with serving(tmp_path) as (client, channel):
        model = (
            client.create_model("a", MLP, seed=1, device="cpu").requires_grad_("layers.0.*", False).to(dtype="float64")
        )
        client.create_model("b", MLP, seed=2)
        upload(channel, "b", constant(5))
        before = client.list_models()
        output = model(np.ones((1, 3)), deterministic=True)
    with serving(tmp_path) as (client, channel):
        assert client.list_models() == before
        assert np.array_equal(client.model("a")(np.ones((1, 3)), deterministic=True), output)
        assert live(channel, "b") == {5.0}


def test_a_deleted_model_stays_deleted_and_its_name_goes_on_from_its_last_version(tmp_path):
    with serving(tmp_path) as (client, channel):
        client.create_model("a", MLP)
        upload(channel, "a", constant(5))
        client.delete_model("a")
    with serving(tmp_path) as (client, channel):
        assert client.list_models() == []
        assert client.create_model("a", MLP).info().version == 3


def test_weights_that_were_not_kept_are_gone_and_their_versions_are_never_told_again(tmp_path):
    with serving(tmp_path) as (client, channel):
        client.create_model("a", MLP)
        upload(channel, "a", constant(5))
        told = [upload(channel, "a", constant(6), durable=False).version for _ in range(3)]
        assert client.model("a").info().unsaved
    with serving(tmp_path) as (client, channel):
        assert (live(channel, "a"), client.model("a").info().version) == ({5.0}, 2)
        assert upload(channel, "a", constant(7)).version > max(told)


def test_a_version_that_was_told_once_is_never_told_again_whatever_comes_between(tmp_path):
    with serving(tmp_path) as (client, channel):
        client.create_model("a", MLP)
        told = upload(channel, "a", constant(6), durable=False).version
    with serving(tmp_path) as (client, _):
        client.model("a").requires_grad_("layers.0.*", False)
    with serving(tmp_path) as (_, channel):
        assert upload(channel, "a", constant(7)).version > told


def test_a_retry_after_a_restart_gets_the_first_reply(tmp_path):
    with serving(tmp_path) as (client, channel):
        client.create_model("a", MLP)
        first = upload(channel, "a", constant(5), request_id="once")
        upload(channel, "a", constant(6))
    with serving(tmp_path) as (_, channel):
        assert upload(channel, "a", constant(5), request_id="once") == first
        assert live(channel, "a") == {6.0}


def test_a_bundled_model_that_was_deleted_or_changed_stays_so(tmp_path):
    with serving(tmp_path, "--examples") as (client, channel):
        client.delete_model("digits")
        upload(channel, "mlp-50-30-20-3", {"layers.4.bias": torch.ones(3)}, strict=False)
    with serving(tmp_path, "--examples") as (client, _):
        kept = {model.name: model.version for model in client.list_models()}
        assert kept == {"logistic-regression": 1, "mlp-50-30-20-3": 2}


def test_a_configured_model_that_the_store_has_changed_stays_changed(tmp_path):
    config = "[models.a]\nin_features = 3\nhidden_features = [4]\nout_features = 2\n"
    with serving(tmp_path, config=config) as (client, channel):
        upload(channel, "a", constant(5))
        client.model("a").to(dtype="float64")
    with serving(tmp_path, config=config.replace("3", "30")) as (client, channel):
        info = client.model("a").info()
        assert (info.version, info.dtype, live(channel, "a")) == (3, "float64", {5.0})


def test_a_model_whose_device_has_gone_is_not_serving_until_it_is_moved(tmp_path):
    with serving(tmp_path) as (client, channel):
        client.create_model("a", MLP)
        client.create_model("b", MLP)
        upload(channel, "a", constant(5))
    with open_store(tmp_path) as store:
        manifest = store.manifest("a")
        assert manifest.model is not None
        store.commit("a", replace(manifest, model=replace(manifest.model, device="cuda:77")))
    with serving(tmp_path) as (client, channel):
        info = client.model("a").info()
        assert (info.serving, info.device, client.model("b").info().serving) == (False, "cuda:77", True)
        assert "this host has no cuda:77" in info.state_reason
        with pytest.raises(gradserve.FailedPreconditionError, match="this host has no cuda:77"):
            client.model("a")([1.0, 2.0, 3.0])
        with pytest.raises(gradserve.FailedPreconditionError, match="this host has no cuda:77"):
            client.model("a").requires_grad_("*", False)
        client.model("a").to("cpu")
        assert (client.model("a").info().serving, live(channel, "a")) == (True, {5.0})


def test_a_model_whose_weights_are_damaged_is_not_serving_until_a_checkpoint_is_loaded(tmp_path):
    with serving(tmp_path) as (client, channel):
        client.create_model("a", MLP)
        upload(channel, "a", constant(5))
        StateServiceStub(channel).SaveCheckpoint(SaveCheckpointRequest(model="a", checkpoint="good"), timeout=SECONDS)
        upload(channel, "a", constant(6))
    with open_store(tmp_path) as store:
        weights = store.manifest("a").model.weights
    damage(tmp_path / "a" / weights.file)
    with serving(tmp_path) as (client, channel):
        info = client.model("a").info()
        assert not info.serving
        assert "the newest undamaged checkpoint is" in info.state_reason
        with pytest.raises(gradserve.DataLossError, match="is damaged"):
            client.model("a")([1.0, 2.0, 3.0])
        request = LoadCheckpointRequest(model="a", checkpoint="good")
        assert StateServiceStub(channel).LoadCheckpoint(request, timeout=SECONDS).version == 4
        assert (client.model("a").info().serving, live(channel, "a")) == (True, {5.0})


def test_a_model_whose_manifest_is_damaged_is_listed_with_the_reason_and_can_only_be_deleted(tmp_path):
    with serving(tmp_path) as (client, _):
        client.create_model("a", MLP)
        client.create_model("b", MLP)
    damage(tmp_path / "a" / "manifest.json")
    with serving(tmp_path) as (client, channel):
        a, b = client.list_models()
        assert (a.name, a.serving, b.name, b.serving) == ("a", False, "b", True)
        assert "what is kept of a is damaged" in a.state_reason
        assert client.model("a").info() == a
        health = HealthStub(channel).Check(HealthCheckRequest(service="a"), timeout=SECONDS)
        assert health.status == HealthCheckResponse.NOT_SERVING
        for call in (client.model("a").state_dict, lambda: client.model("a").requires_grad_("*", False)):
            with pytest.raises(gradserve.DataLossError, match="what is kept of a is damaged"):
                call()
        with pytest.raises(gradserve.DataLossError):
            client.delete_model("a", if_version=1)
        assert client.delete_model("a") == 0
        assert [model.name for model in client.list_models()] == ["b"]


@pytest.mark.parametrize("manifest", [None, b"", b'{"last_version": 1, "version": 77, '], ids=["gone", "empty", "cut"])
def test_a_model_made_in_the_place_of_a_damaged_one_goes_on_above_every_version_that_was_told(tmp_path, manifest):
    with serving(tmp_path) as (client, channel):
        client.create_model("a", MLP)
        for _ in range(80):
            told = upload(channel, "a", constant(6), durable=False).version
    file = tmp_path / "a" / "manifest.json"
    file.unlink() if manifest is None else file.write_bytes(manifest)
    with serving(tmp_path) as (client, _):
        client.delete_model("a")
    with serving(tmp_path) as (client, _):
        assert client.create_model("a", MLP).info().version > told


def damage(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def test_checkpoints_survive_and_only_the_last_automatic_ones_are_kept(tmp_path):
    with serving(tmp_path, "--set", "store.automatic_checkpoints=2") as (client, channel):
        client.create_model("a", MLP)
        stub = StateServiceStub(channel)
        stub.SaveCheckpoint(
            SaveCheckpointRequest(model="a", checkpoint="first", metadata={"why": "so"}), timeout=SECONDS
        )
        for value in range(4):
            upload(channel, "a", constant(value))
        stub.SaveCheckpoint(SaveCheckpointRequest(model="a", checkpoint="gone"), timeout=SECONDS)
        stub.DeleteCheckpoint(DeleteCheckpointRequest(model="a", checkpoint="gone"), timeout=SECONDS)
        before = stub.ListCheckpoints(ListCheckpointsRequest(model="a"), timeout=SECONDS)
    assert [(kept.name, kept.automatic, kept.live) for kept in before.checkpoints] == [
        ("version-5", True, True),
        ("version-4", True, False),
        ("first", False, False),
    ]
    with serving(tmp_path, "--set", "store.automatic_checkpoints=2") as (_, channel):
        assert StateServiceStub(channel).ListCheckpoints(ListCheckpointsRequest(model="a"), timeout=SECONDS) == before


def test_a_second_server_on_the_same_folder_does_not_start(tmp_path):
    with serving(tmp_path):
        command = [sys.executable, "-m", "gradserve", "serve", "--listen", "127.0.0.1:0", "--data-dir", str(tmp_path)]
        second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode != 0
    assert len(second.stderr.splitlines()) == 1
    assert "another server" in second.stderr
