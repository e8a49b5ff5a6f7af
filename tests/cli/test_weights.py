"""The commands push, pull, save, load and checkpoints."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

import gradserve


@pytest.fixture
def model(durable_client: gradserve.Client) -> Iterator[gradserve.Model]:
    """A model under the name "moved" that a test may change."""
    yield durable_client.create_model("moved", gradserve.MLP(3, [4], 2), seed=0, device="cpu")
    durable_client.delete_model("moved")


@pytest.fixture
def deployed(durable_client: gradserve.Client) -> Iterator[nn.Module]:
    """A module that was deployed under the name "moved"."""
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    gradserve.deploy(module, "moved", durable_client, device="cpu")
    yield module
    durable_client.delete_model("moved")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a file may be written."""
    return tmp_path / "w.safetensors"


def local_module() -> nn.Module:
    """Return a module whose only child is `layers`."""
    return nn.ModuleDict({"layers": nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))})


class TestPull:
    def test_writes_a_file_that_a_plain_module_loads(self, run_durable, model: gradserve.Model, path: Path):
        outcome = run_durable("pull", "moved", "-o", path)
        module = local_module()
        module.load_state_dict(safetensors.torch.load_file(path))
        x = torch.ones(1, 3)
        torch.testing.assert_close(module.get_submodule("layers")(x).detach(), model(x))
        version = model.info().version
        assert outcome.out == f"pulled moved, version {version}: {path}, {path.stat().st_size} bytes\n"

    def test_tells_the_same_as_json(self, run_durable, model: gradserve.Model, path: Path):
        told = json.loads(run_durable("pull", "moved", "-o", path, "--json").out)
        size, version = path.stat().st_size, model.info().version
        assert told == {"pulled": "moved", "version": version, "written": str(path), "size_bytes": size}

    @pytest.mark.usefixtures("model")
    def test_globs_choose(self, run_durable, path: Path):
        run_durable("pull", "moved", "-o", path, "--key", "layers.0.weight", "--key", "layers.2.*")
        assert safetensors.torch.load_file(path).keys() == {"layers.0.weight", "layers.2.weight", "layers.2.bias"}

    def test_gives_a_deployed_module_its_own_names_back(self, run_durable, deployed: nn.Module, path: Path):
        assert run_durable("pull", "moved", "-o", path, "--original-names").code == 0
        again = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
        again.load_state_dict(safetensors.torch.load_file(path))
        assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in deployed.state_dict().items())

    @pytest.mark.usefixtures("model")
    def test_of_a_model_without_original_names_is_a_conflict(self, run_durable, path: Path):
        outcome = run_durable("pull", "moved", "-o", path, "--original-names")
        assert outcome.code == 6
        assert "gradserve.deploy" in outcome.err
        assert not path.exists()

    @pytest.mark.usefixtures("model")
    def test_of_another_version_is_a_conflict_and_leaves_the_old_file(self, run_durable, path: Path):
        path.write_text("old")
        assert run_durable("pull", "moved", "-o", path, "--if-version", 99999).code == 6
        assert path.read_text() == "old"

    @pytest.mark.usefixtures("model")
    def test_into_a_folder_that_is_not_there_is_one_line(self, run_durable):
        outcome = run_durable("pull", "moved", "-o", "/nowhere/w.safetensors")
        assert outcome.code == 1
        assert outcome.err == "gradserve: cannot write /nowhere/w.safetensors: No such file or directory\n"

    def test_needs_to_be_told_where_to(self, run_durable):
        outcome = run_durable("pull", "moved")
        assert outcome.code == 2
        assert "Missing option '-o' / '--output'" in outcome.err


class TestPush:
    def test_the_model_computes_with_the_files_weights(self, run_durable, model: gradserve.Model, path: Path):
        module = local_module()
        safetensors.torch.save_file(module.state_dict(), path)
        outcome = run_durable("push", "moved", path)
        x = torch.ones(1, 3)
        torch.testing.assert_close(model(x), module.get_submodule("layers")(x).detach())
        assert outcome.out == f"pushed moved, version {model.info().version}\n"

    @pytest.mark.usefixtures("model")
    def test_a_key_too_many_is_refused_and_named(self, run_durable, path: Path):
        safetensors.torch.save_file({**local_module().state_dict(), "extra": torch.ones(1)}, path)
        outcome = run_durable("push", "moved", path)
        assert outcome.code == 4
        assert "extra" in outcome.err

    @pytest.mark.usefixtures("model")
    def test_without_strict_keys_that_did_not_match_are_listed(self, run_durable, path: Path):
        state = local_module().state_dict()
        state["extra"] = state.pop("layers.0.bias")
        safetensors.torch.save_file(state, path)
        lines = run_durable("push", "moved", path, "--no-strict").out.splitlines()
        assert lines[1:] == ["missing: layers.0.bias", "unexpected: extra"]
        told = json.loads(run_durable("push", "moved", path, "--no-strict", "--json").out)
        assert (told["missing_keys"], told["unexpected_keys"]) == (["layers.0.bias"], ["extra"])

    def test_globs_choose(self, run_durable, model: gradserve.Model, path: Path):
        before, module = model.state_dict(), local_module()
        safetensors.torch.save_file({"layers.2.bias": module.state_dict()["layers.2.bias"]}, path)
        assert run_durable("push", "moved", path, "--key", "layers.2.bias").code == 0
        after = model.state_dict()
        np.testing.assert_array_equal(after["layers.2.bias"], module.state_dict()["layers.2.bias"].numpy())
        np.testing.assert_array_equal(after["layers.0.bias"], before["layers.0.bias"])

    def test_another_dtype_needs_cast(self, run_durable, model: gradserve.Model, path: Path):
        safetensors.torch.save_file(local_module().double().state_dict(), path)
        assert run_durable("push", "moved", path).code == 4
        assert run_durable("push", "moved", path, "--cast").code == 0
        assert model.info().dtype == "float32"

    def test_takes_a_deployed_modules_own_names(self, run_durable, deployed: nn.Module, path: Path):
        safetensors.torch.save_file(deployed.state_dict(), path)
        assert run_durable("push", "moved", path).code == 4
        assert run_durable("push", "moved", path, "--original-names").code == 0

    @pytest.mark.usefixtures("model")
    def test_another_version_is_a_conflict(self, run_durable, path: Path):
        safetensors.torch.save_file(local_module().state_dict(), path)
        assert run_durable("push", "moved", path, "--if-version", 99999).code == 6

    @pytest.mark.parametrize(
        ("content", "code", "says"),
        [
            (None, 2, "cannot read {path}: No such file or directory"),
            (b"", 4, "{path}: it is not a safetensors file, or it is cut short"),
            (b"PK\x03\x04 and so on", 4, "{path}: it is a file of torch.save, which is never read"),
        ],
        ids=["missing", "empty", "torch.save"],
    )
    @pytest.mark.usefixtures("model")
    def test_what_is_no_such_file_is_one_line(
        self, run_durable, path: Path, content: bytes | None, code: int, says: str
    ):
        if content is not None:
            path.write_bytes(content)
        outcome = run_durable("push", "moved", path)
        assert outcome.code == code
        assert says.format(path=path) in outcome.err
        assert len(outcome.err.splitlines()) == 1


class TestCheckpoints:
    def test_a_checkpoint_is_saved_listed_and_loaded(self, run_durable, model: gradserve.Model):
        before = model.state_dict()
        saved = run_durable("save", "moved", "v1", "--note", "data=2026-10", "--note", "why=a = b")
        model.load_state_dict({name: np.zeros_like(array) for name, array in before.items()})
        loaded = run_durable("load", "moved", "v1")
        after = model.state_dict()
        assert saved.out == f"saved moved, version {before.version}, as v1\n"
        assert loaded.out == f"loaded v1 into moved, version {after.version}\n"
        assert all(np.array_equal(after[name], array) for name, array in before.items())

    def test_the_list_is_a_table_with_tabs(self, run_durable, model: gradserve.Model):
        run_durable("save", "moved", "v1")
        header, first, *_ = run_durable("checkpoints", "moved").out.splitlines()
        assert header.split("\t") == [
            "CHECKPOINT",
            "VERSION",
            "CREATE_TIME",
            "SIZE_BYTES",
            "SHA256",
            "AUTOMATIC",
            "LIVE",
        ]
        checkpoint = model.list_checkpoints()[0]
        created = checkpoint.create_time.isoformat()
        facts = ["v1", str(checkpoint.version), created, str(checkpoint.size_bytes), checkpoint.sha256, "false", "true"]
        assert first.split("\t") == facts

    @pytest.mark.usefixtures("model")
    def test_the_list_as_json_has_the_notes(self, run_durable):
        saved = json.loads(run_durable("save", "moved", "v1", "--note", "a=b", "--json").out)
        listed = json.loads(run_durable("checkpoints", "moved", "--json").out)
        assert listed["model"] == saved["saved"] == "moved"
        assert listed["checkpoints"][0] == saved["checkpoint"]
        assert saved["checkpoint"]["metadata"] == {"a": "b"}

    @pytest.mark.usefixtures("model")
    def test_a_name_that_is_taken_is_a_conflict(self, run_durable):
        run_durable("save", "moved", "v1")
        assert run_durable("save", "moved", "v1").code == 6

    @pytest.mark.usefixtures("model")
    def test_a_checkpoint_that_is_not_there_is_not_found(self, run_durable):
        outcome = run_durable("load", "moved", "nope")
        assert outcome.code == 3
        assert "nope" in outcome.err

    @pytest.mark.usefixtures("model")
    def test_another_version_is_a_conflict(self, run_durable):
        run_durable("save", "moved", "v1")
        assert run_durable("save", "moved", "v2", "--if-version", 99999).code == 6
        assert run_durable("load", "moved", "v1", "--if-version", 99999).code == 6

    @pytest.mark.parametrize(
        ("notes", "says"),
        [(["a"], "must be NAME=TEXT"), (["=b"], "must be NAME=TEXT"), (["a=1", "a=2"], "the same name twice")],
    )
    def test_a_wrong_note_is_refused_before_anything_is_sent(self, run_durable, notes: list[str], says: str):
        outcome = run_durable("save", "moved", "v1", *(word for note in notes for word in ("--note", note)))
        assert outcome.code == 2
        assert says in outcome.err
