"""Weights of a model on a real server: out, in, into files, and back from checkpoints."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

import gradserve
from gradserve.torch import tensors
from tests.support.either_client import either_client
from tests.support.no_pickle.sitecustomize import pickled_copy

pytestmark = either_client

LAYERS = [
    gradserve.Layer("Linear", in_features=3, out_features=4),
    gradserve.Layer("BatchNorm1d", num_features=4),
    gradserve.Layer("ReLU"),
    gradserve.Layer("Linear", in_features=4, out_features=2, bias=False),
]
NAMES = [
    "layers.0.weight",
    "layers.0.bias",
    "layers.1.weight",
    "layers.1.bias",
    "layers.1.running_mean",
    "layers.1.running_var",
    "layers.1.num_batches_tracked",
    "layers.3.weight",
]
X = np.linspace(-1, 1, 15, dtype=np.float32).reshape(5, 3)


def local_module(seed: int, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Return a module whose only child is `layers`, with the weights of a seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2, bias=False))
        layers[1].running_mean.normal_()
    return nn.ModuleDict({"layers": layers.to(dtype).eval()})


def outputs(module: nn.Module) -> np.ndarray:
    with torch.no_grad():
        return module.get_submodule("layers")(torch.from_numpy(X)).numpy()


@pytest.fixture
def model(client: gradserve.Client) -> Iterator[gradserve.Model]:
    """A model that a test may change, with the weights of seed 0."""
    yield client.create_model("weighed", gradserve.Sequential(LAYERS), seed=0, device="cpu")
    client.delete_model("weighed")


@pytest.fixture
def kept(durable_client: gradserve.Client) -> Iterator[gradserve.Model]:
    """The same on a server that keeps it on disk."""
    yield durable_client.create_model("weighed", gradserve.Sequential(LAYERS), seed=0, device="cpu")
    durable_client.delete_model("weighed")


@pytest.fixture
def half(client: gradserve.Client) -> Iterator[gradserve.Model]:
    """The same in bfloat16."""
    yield client.create_model("weighed-half", gradserve.Sequential(LAYERS), seed=0, device="cpu", dtype="bfloat16")
    client.delete_model("weighed-half")


class TestStateDict:
    def test_has_torchs_names_in_torchs_order(self, model: gradserve.Model):
        assert list(model.state_dict()) == list(local_module(0).state_dict()) == NAMES

    def test_has_the_weights_of_the_seed_to_the_bit(self, model: gradserve.Model):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            expected = nn.Linear(3, 4).weight.detach().numpy()
        np.testing.assert_array_equal(model.state_dict()["layers.0.weight"], expected)

    def test_tells_the_version(self, model: gradserve.Model):
        state = model.state_dict()
        assert state.version == model.info().version
        assert model.load_state_dict(state).version == model.state_dict().version == state.version + 1

    def test_globs_choose(self, model: gradserve.Model):
        assert list(model.state_dict("layers.0.*")) == NAMES[:2]
        assert list(model.state_dict(["layers.3.weight", "*.bias"])) == [NAMES[1], NAMES[3], NAMES[7]]

    def test_a_glob_that_matches_nothing_is_refused(self, model: gradserve.Model):
        with pytest.raises(gradserve.InvalidArgumentError):
            model.state_dict("layers.9.*")

    def test_another_version_is_refused(self, model: gradserve.Model):
        with pytest.raises(gradserve.FailedPreconditionError):
            model.state_dict(if_version=99)

    def test_a_model_that_is_gone_is_not_found(self, client: gradserve.Client):
        with pytest.raises(gradserve.NotFoundError):
            client.model("gone").state_dict()

    def test_arrays_may_be_written_to(self, model: gradserve.Model):
        state = model.state_dict()
        state["layers.0.bias"][:] = 7
        model.load_state_dict(state)
        assert model.state_dict("layers.0.bias")["layers.0.bias"].tolist() == [7, 7, 7, 7]

    def test_bfloat16_is_that_of_ml_dtypes(self, half: gradserve.Model):
        assert half.state_dict()["layers.0.weight"].dtype == ml_dtypes.bfloat16

    def test_other_processes_get_it_whole(self, model: gradserve.Model):
        state = model.state_dict()
        copy = pickled_copy(state)
        assert copy.version == state.version
        assert all(np.array_equal(copy[name], array) for name, array in state.items())

    @pytest.mark.parametrize("name", ["model", "half"])
    def test_a_torch_module_loads_it(self, name: str, request: pytest.FixtureRequest):
        model: gradserve.Model = request.getfixturevalue(name)
        loaded = tensors(model.state_dict())
        module = local_module(1, loaded["layers.0.weight"].dtype)
        module.load_state_dict(loaded)
        assert all(torch.equal(module.state_dict()[name], tensor) for name, tensor in loaded.items())


class TestLoadStateDict:
    def test_the_model_computes_with_the_new_weights(self, model: gradserve.Model):
        module = local_module(1)
        result = model.load_state_dict(module.state_dict())
        np.testing.assert_allclose(model(X), outputs(module), rtol=1e-5, atol=1e-6)
        assert (result.missing_keys, result.unexpected_keys) == ((), ())

    @pytest.mark.parametrize("kind", ["numpy", "torch", "parameters", "transposed"])
    def test_arrays_of_every_kind_arrive_to_the_bit(self, model: gradserve.Model, kind: str):
        module = local_module(1)
        state: dict[str, Any] = dict(module.state_dict(keep_vars=kind == "parameters"))
        if kind == "numpy":
            state = {name: tensor.numpy() for name, tensor in state.items()}
        if kind == "transposed":
            state["layers.0.weight"] = state["layers.0.weight"].T.contiguous().T
        model.load_state_dict(state)
        for name, array in model.state_dict().items():
            np.testing.assert_array_equal(array, module.state_dict()[name].numpy())

    def test_bfloat16_arrives_to_the_bit(self, half: gradserve.Model):
        module = local_module(1, torch.bfloat16)
        half.load_state_dict(module.state_dict())
        arrived = tensors(half.state_dict())
        assert all(torch.equal(arrived[name], tensor) for name, tensor in module.state_dict().items())

    def test_names_must_match_exactly(self, model: gradserve.Model):
        state = model.state_dict()
        state["extra"] = state.pop("layers.0.bias")
        with pytest.raises(gradserve.InvalidArgumentError, match=r"layers\.0\.bias"):
            model.load_state_dict(state)
        assert model.info().version == state.version

    def test_without_strict_what_did_not_match_is_told(self, model: gradserve.Model):
        state = model.state_dict()
        state["extra"] = state.pop("layers.0.bias")
        result = model.load_state_dict(state, strict=False)
        assert (result.missing_keys, result.unexpected_keys) == (("layers.0.bias",), ("extra",))

    def test_globs_choose_what_is_loaded(self, model: gradserve.Model):
        before, module = model.state_dict(), local_module(1)
        model.load_state_dict(module.state_dict(), keys="layers.3.*", strict=False)
        after = model.state_dict()
        np.testing.assert_array_equal(after["layers.3.weight"], module.state_dict()["layers.3.weight"].numpy())
        np.testing.assert_array_equal(after["layers.0.weight"], before["layers.0.weight"])

    def test_another_shape_is_refused(self, model: gradserve.Model):
        state = model.state_dict()
        state["layers.0.weight"] = state["layers.0.weight"].T
        with pytest.raises(gradserve.InvalidArgumentError, match=r"layers\.0\.weight"):
            model.load_state_dict(state)

    def test_another_dtype_is_refused_unless_it_is_to_be_cast(self, model: gradserve.Model):
        state = local_module(1, torch.float64).state_dict()
        with pytest.raises(gradserve.InvalidArgumentError, match=r"float64"):
            model.load_state_dict(state)
        model.load_state_dict(state, cast=True)
        assert model.state_dict()["layers.0.weight"].dtype == np.float32

    def test_another_version_is_aborted(self, model: gradserve.Model):
        with pytest.raises(gradserve.AbortedError):
            model.load_state_dict(model.state_dict(), if_version=99)

    def test_the_same_request_is_done_once(self, model: gradserve.Model):
        state = model.state_dict()
        first = model.load_state_dict(state, request_id="once")
        again = model.load_state_dict(state, request_id="once")
        assert first == again
        assert model.info().version == first.version

    def test_what_is_neither_a_mapping_nor_a_path_is_a_type_error(self, model: gradserve.Model):
        with pytest.raises(TypeError, match=r"got Linear"):
            model.load_state_dict(nn.Linear(1, 1))  # type: ignore[arg-type]


class TestFiles:
    def test_a_file_opens_in_safetensors_and_loads_into_a_plain_module(self, model: gradserve.Model, tmp_path: Path):
        path = tmp_path / "weights.safetensors"
        assert model.save_state_dict(path) == model.info().version
        module = local_module(1)
        module.load_state_dict(safetensors.torch.load_file(path))
        np.testing.assert_allclose(model(X), outputs(module), rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("kind", [str, Path])
    def test_a_file_that_safetensors_wrote_is_loaded(self, model: gradserve.Model, tmp_path: Path, kind: type):
        module = local_module(1)
        safetensors.torch.save_file(module.state_dict(), tmp_path / "w.safetensors", metadata={"format": "pt"})
        model.load_state_dict(kind(tmp_path / "w.safetensors"))
        np.testing.assert_allclose(model(X), outputs(module), rtol=1e-5, atol=1e-6)

    def test_a_file_may_hold_some_of_the_weights(self, model: gradserve.Model, tmp_path: Path):
        model.save_state_dict(tmp_path / "w.safetensors", "layers.3.*")
        assert list(safetensors.torch.load_file(tmp_path / "w.safetensors")) == ["layers.3.weight"]

    def test_a_file_takes_the_place_of_an_older_one(self, model: gradserve.Model, tmp_path: Path):
        path = tmp_path / "w.safetensors"
        path.write_text("old")
        model.save_state_dict(path)
        assert safetensors.torch.load_file(path).keys() == set(NAMES)
        assert list(tmp_path.iterdir()) == [path]

    def test_a_file_that_is_none_is_refused_before_it_is_sent(self, model: gradserve.Model, tmp_path: Path):
        (tmp_path / "w.pt").write_bytes(b"PK\x03\x04 and so on")
        with pytest.raises(gradserve.InvalidArgumentError, match=r"w\.pt: it is a file of torch\.save") as caught:
            model.load_state_dict(tmp_path / "w.pt")
        assert caught.value.reason == "INVALID_SAFETENSORS"
        assert caught.value.call_id is None

    def test_a_file_that_is_not_there_is_not_found(self, model: gradserve.Model, tmp_path: Path):
        with pytest.raises(FileNotFoundError):
            model.load_state_dict(tmp_path / "w.safetensors")

    def test_a_file_that_cannot_be_written_costs_no_download(self, model: gradserve.Model, tmp_path: Path):
        told: list[int] = []
        with pytest.raises(FileNotFoundError):
            model.save_state_dict(tmp_path / "nowhere" / "w", progress=lambda done, _total: told.append(done))
        assert told == []


class TestCheckpoints:
    def test_weights_come_back_under_a_new_version(self, kept: gradserve.Model):
        before = kept.state_dict()
        kept.save_checkpoint("v1")
        kept.load_state_dict(local_module(1).state_dict())
        version = kept.load_checkpoint("v1")
        after = kept.state_dict()
        assert version == after.version == before.version + 2
        assert all(np.array_equal(after[name], array) for name, array in before.items())

    def test_a_checkpoint_tells_what_it_is(self, kept: gradserve.Model):
        saved = kept.save_checkpoint("v1", metadata={"loss": "0.25"}, if_version=kept.info().version)
        (listed,) = [checkpoint for checkpoint in kept.list_checkpoints() if checkpoint.name == "v1"]
        assert listed == saved
        assert (saved.name, saved.metadata, saved.automatic, saved.live) == ("v1", {"loss": "0.25"}, False, True)
        assert saved.version == kept.info().version
        assert saved.create_time.utcoffset() is not None
        assert saved.size_bytes > sum(array.nbytes for array in kept.state_dict().values())
        assert len(bytes.fromhex(saved.sha256)) == 32

    def test_the_newest_goes_first_over_all_pages(self, kept: gradserve.Model):
        names = [f"v{number}" for number in range(60)]
        for name in names:
            kept.save_checkpoint(name)
        listed = [checkpoint.name for checkpoint in kept.list_checkpoints() if not checkpoint.automatic]
        assert listed == names[::-1]

    def test_a_name_that_is_taken_is_refused(self, kept: gradserve.Model):
        kept.save_checkpoint("v1")
        with pytest.raises(gradserve.AlreadyExistsError):
            kept.save_checkpoint("v1")

    def test_a_checkpoint_that_is_not_there_is_not_found(self, kept: gradserve.Model):
        with pytest.raises(gradserve.NotFoundError):
            kept.load_checkpoint("nope")

    def test_a_deleted_one_is_gone(self, kept: gradserve.Model):
        kept.save_checkpoint("v1")
        kept.delete_checkpoint("v1")
        assert "v1" not in {checkpoint.name for checkpoint in kept.list_checkpoints()}

    @pytest.mark.parametrize("call", ["save_checkpoint", "load_checkpoint"])
    def test_another_version_is_aborted(self, kept: gradserve.Model, call: str):
        if call == "load_checkpoint":
            kept.save_checkpoint("v1")
        with pytest.raises(gradserve.AbortedError):
            getattr(kept, call)("v1", if_version=99)
