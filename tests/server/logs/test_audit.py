"""Who changed which model: the audit of a real server with tokens and a store."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import grpc
import numpy as np
import pytest

import gradserve
from gradserve.v1 import model_pb2, state_pb2
from gradserve_server.logs.audit import CHANGES
from gradserve_server.open_inference import grpc_service_pb2, grpc_service_pb2_grpc
from tests.support.lines import AUDIT, JSON, Line, line_of, lines, lines_until
from tests.support.server import RunningServer, start_server
from tests.support.tokens import TokensFile


@dataclass(frozen=True)
class Audited:
    """A server, and clients with two tokens."""

    server: RunningServer
    trainer: gradserve.Client
    reader: gradserve.Client
    secrets: tuple[str, str]


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    folder = tmp_path_factory.mktemp("audited")
    tokens = TokensFile(folder / "tokens.toml")
    trainer, reader = tokens.add("trainer"), tokens.add("reader", ["forward"])
    # Whatever the level is, changes are written.
    with (
        start_server(*tokens.flags, *JSON, "--set", "log.level=error", data_dir=folder / "data") as running,
        gradserve.Client(running.target, token=trainer) as first,
        gradserve.Client(running.target, token=reader) as second,
    ):
        yield Audited(running, first, second, (trainer, reader))


def last(server: RunningServer, model: str, count: int) -> list[Line]:
    """The lines of a model, without what differs from run to run."""
    found = lines_until(server, AUDIT, lambda all_: sum(line.get("model") == model for line in all_) >= count)
    told = [line for line in found if line.get("model") == model]
    return [{key: value for key, value in line.items() if key not in {"time", "request_id"}} for line in told]


def changed(operation: str, model: str, **more: object) -> Line:
    return {
        "level": "info",
        "logger": AUDIT,
        "message": f"{operation} ok",
        "caller": "trainer",
        "operation": operation,
        "outcome": "ok",
        "model": model,
        **more,
    }


def test_each_change_has_a_line_with_who_made_it_and_the_versions_before_and_after(audited: Audited):
    model = audited.trainer.create_model("a", gradserve.MLP(3, [], 2), seed=1)
    model.load_state_dict(model.state_dict())
    model.save_checkpoint("first")
    model.load_checkpoint("first")
    model.delete_checkpoint("first")
    model.to(dtype="float64")
    audited.trainer.delete_model("a")
    assert last(audited.server, "a", 7) == [
        changed("create_model", "a", version=1),
        changed("load_state_dict", "a", version_before=1, version=2),
        changed("save_checkpoint", "a", version_before=2, version=2, checkpoint="first"),
        changed("load_checkpoint", "a", version_before=2, version=3, checkpoint="first"),
        changed("delete_checkpoint", "a", version_before=3, version=3, checkpoint="first"),
        changed("update_model", "a", version_before=3, version=4),
        changed("delete_model", "a", version_before=4),
    ]


REFUSED: dict[str, Callable[[gradserve.Client], object]] = {
    "CreateModel": lambda client: client.create_model("b", gradserve.MLP(3, [], 2)),
    "UpdateModel": lambda client: client.model("b").to(dtype="float64"),
    "DeleteModel": lambda client: client.delete_model("b"),
    "LoadStateDict": lambda client: client.model("b").load_state_dict({"a": np.zeros(1)}),
    "SaveCheckpoint": lambda client: client.model("b").save_checkpoint("c"),
    "LoadCheckpoint": lambda client: client.model("b").load_checkpoint("c"),
    "DeleteCheckpoint": lambda client: client.model("b").delete_checkpoint("c"),
}


@pytest.mark.parametrize("method", sorted(REFUSED))
def test_a_refused_change_has_a_line_with_who_asked_for_it_and_why_not(audited: Audited, method):
    with pytest.raises(gradserve.PermissionDeniedError) as caught:
        REFUSED[method](audited.reader)
    line = line_of(audited.server, AUDIT, str(caught.value.call_id))
    assert (line["caller"], line["outcome"], line["status"]) == ("reader", "invalid", "PERMISSION_DENIED")
    assert line["reason"] == "RIGHT_MISSING"
    # An upload is refused before the part is read that names the model.
    assert line.get("model") == (None if method == "LoadStateDict" else "b")
    assert line.get("checkpoint") == ("c" if "Checkpoint" in method else None)


def test_a_change_that_the_state_of_the_model_forbids_has_a_line_with_the_reason(audited: Audited):
    model = audited.trainer.create_model("d", gradserve.MLP(3, [], 2), seed=1)
    with pytest.raises(gradserve.AbortedError) as caught:
        model.load_state_dict(model.state_dict(), if_version=9)
    line = line_of(audited.server, AUDIT, str(caught.value.call_id))
    assert (line["model"], line["status"], line["reason"]) == ("d", "ABORTED", "VERSION_MISMATCH")


def test_a_caller_without_a_token_is_called_by_his_address(audited: Audited):
    with gradserve.Client(audited.server.target) as nobody, pytest.raises(gradserve.UnauthenticatedError) as caught:
        nobody.delete_model("a")
    assert line_of(audited.server, AUDIT, str(caught.value.call_id))["caller"].startswith("ipv4:127.0.0.1:")


def test_neither_tokens_nor_their_hashes_are_written(audited: Audited):
    audited.reader.server_info()
    for secret in audited.secrets:
        assert secret.removeprefix("gradserve_") not in audited.server.log()
        assert hashlib.sha256(secret.encode()).hexdigest() not in audited.server.log()


def test_a_model_that_is_unloaded_and_loaded_has_a_line_for_each_and_for_who_may_not(audited: Audited):
    audited.trainer.create_model("e", gradserve.MLP(3, [], 2), seed=1)
    trainer, reader = ([("authorization", f"Bearer {text}")] for text in audited.secrets)
    with grpc.insecure_channel(audited.server.target) as channel:
        stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
        unload = grpc_service_pb2.RepositoryModelUnloadRequest(model_name="e")
        with pytest.raises(grpc.RpcError) as caught:
            stub.RepositoryModelUnload(unload, metadata=reader, timeout=20)
        stub.RepositoryModelUnload(unload, metadata=trainer, timeout=20)
        load = grpc_service_pb2.RepositoryModelLoadRequest(model_name="e")
        stub.RepositoryModelLoad(load, metadata=trainer, timeout=20)
    refused, *made = last(audited.server, "e", 4)[1:]
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert (refused["caller"], refused["operation"], refused["reason"]) == (
        "reader",
        "repository_model_unload",
        "RIGHT_MISSING",
    )
    assert made == [
        changed("repository_model_unload", "e", version_before=1, version=1),
        changed("repository_model_load", "e", version_before=1, version=2),
    ]


def test_every_method_that_changes_something_is_audited():
    """All but those that read or compute."""
    reads = {"GetModel", "ListModels", "GetServerInfo", "GetStateDict", "ListCheckpoints"}
    open_inference = grpc_service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    reads |= {method.name for method in open_inference.methods if not method.name.endswith("load")}
    services = (
        open_inference,
        model_pb2.DESCRIPTOR.services_by_name["ModelService"],
        state_pb2.DESCRIPTOR.services_by_name["StateService"],
    )
    assert {method.name for service in services for method in service.methods} == CHANGES | reads


def test_a_level_above_info_leaves_only_audit_and_errors(audited: Audited):
    assert {line["logger"] for line in lines(audited.server)} == {AUDIT}
