"""Triton's own client, unmodified and in a process of its own, is answered as Triton answers and as torch computes."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import gradserve
from tests.open_inference import triton_process
from tests.support.server import RunningServer, start_server

HERE = Path(__file__).resolve().parent
PYTHON = HERE.parent.parent / ".venv-tritonclient" / "bin" / "python"
IDENTITIES = ("float16", "float32", "float64")
NET = "mlp-50-30-20-3"
X = torch.from_numpy(np.linspace(-1, 1, 4 * 50, dtype=np.float32).reshape(4, 50))
CLASSES = torch.tensor([0, 2, 1, 1])

Told = dict[str, dict[str, Any]]
"""The status and the answer of each case, by its name."""


def conversation(target: str, cases: str) -> Told:
    """What tritonclient is told."""
    assert PYTHON.exists(), "run this test by `make test`, or once `make .venv-tritonclient/.installed`"
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [PYTHON, "-W", "error", HERE / "conversation.py", target, cases]
    return json.loads(subprocess.run(command, env=environ, check=True, stdout=subprocess.PIPE).stdout)


@pytest.fixture(scope="module")
def serving() -> Iterator[RunningServer]:
    with start_server("--examples") as server:
        with gradserve.Client(server.target) as client:
            identity = gradserve.Sequential([gradserve.Layer("Identity")])
            for dtype in IDENTITIES:
                client.create_model(f"identity-{dtype}", identity, dtype=dtype, device="cpu")
        yield server
        assert "internal error" not in server.log()
        assert "Traceback" not in server.log()


@pytest.fixture(scope="module")
def told(serving: RunningServer) -> Told:
    return conversation(serving.target, "common_cases")


@pytest.fixture(scope="module")
def told_alone(serving: RunningServer, told: Told) -> Told:
    """After the others: these unload a model too."""
    return conversation(serving.target, "own_cases")


@pytest.fixture(scope="module")
def told_by_pytriton(tmp_path_factory: pytest.TempPathFactory) -> Told:
    models = (NET, *(f"identity-{dtype}" for dtype in IDENTITIES))
    with triton_process.serving(models, tmp_path_factory.mktemp("pytriton")) as target:
        return conversation(target, "common_cases")


@pytest.fixture(params=["told", "told_alone", pytest.param("told_by_pytriton", marks=pytest.mark.slow)])
def any_told(request: pytest.FixtureRequest) -> Told:
    return request.getfixturevalue(request.param)


def wanted(case: str) -> str:
    """The status that the name of a case begins with; OK without one."""
    status, comma, _ = case.partition(", ")
    return status if comma else "OK"


def test_every_case_ends_with_its_status(any_told: Told):
    assert {name: case for name, case in any_told.items() if case["status"] != wanted(name)} == {}
    assert {wanted(name) for name in any_told} > {"OK", "NOT_FOUND", "INVALID_ARGUMENT"}


@pytest.mark.slow
def test_pytriton_gives_the_same_answer_to_every_case(told: Told, told_by_pytriton: Told):
    assert told.keys() == told_by_pytriton.keys()
    assert [name for name in told if not same(told[name], told_by_pytriton[name])] == []


def same(ours: Any, theirs: Any) -> bool:
    """Whether two answers are equal, numbers nearly so. The words of a refusal are each server's own."""
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(
            same(ours[name], theirs[name]) for name in ours if name != "message"
        )
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(same(*pair) for pair in zip(ours, theirs, strict=True))
    if isinstance(ours, float):
        return ours == pytest.approx(theirs, abs=1e-6)
    return type(ours) is type(theirs) and ours == theirs


def values(answer: dict[str, Any], output: str = "output") -> torch.Tensor:
    """An output of a reply."""
    found = answer["outputs"][output]
    return torch.tensor(found["values"], dtype=torch.float32).reshape(found["shape"])


@pytest.fixture(scope="module")
def net() -> nn.Sequential:
    """The bundled model, in process."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(50, 30), nn.ReLU(), nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 3))


@pytest.mark.parametrize(
    "case", ["infer", "infer of a chosen output", "infer with asyncio", "infer with what Triton knows"]
)
def test_an_output_is_torchs_and_comes_as_raw_bytes(told: Told, net: nn.Sequential, case: str):
    answer = told[case]["answer"]
    torch.testing.assert_close(values(answer), net(X).detach())
    assert answer["outputs"]["output"]["datatype"] == "FP32"
    assert answer["only_raw"] is True


def test_the_id_of_a_request_comes_back_with_the_version_that_computed_it(told: Told):
    answers = [told["infer"]["answer"], *told["infer in callbacks"]["answer"]]
    assert [answer["id"] for answer in answers] == ["mine", "0", "1", "2"]
    assert {answer["version"] for answer in answers} == {"1"}


@pytest.mark.parametrize("dtype", IDENTITIES)
def test_each_floating_datatype_comes_back_as_it_went(told: Told, dtype: str):
    (output,) = told[f"identity {dtype}"]["answer"]["outputs"].values()
    assert output == {"datatype": f"FP{dtype[5:]}", "shape": [1, 3], "values": [0.5, -1.25, 3.0]}


def test_an_input_of_another_floating_datatype_is_cast(told_alone: Told, net: nn.Sequential):
    torch.testing.assert_close(values(told_alone["FP64 for a model of FP32"]["answer"]), net(X).detach())
    torch.testing.assert_close(values(told_alone["BF16"]["answer"]), net(X).detach(), atol=0.01, rtol=0.01)


def test_a_stream_is_answered_in_its_order_and_refused_by_each_request(told: Told, net: nn.Sequential):
    first, *refused, last = told["infer in a stream"]["answer"]
    assert (first["id"], last["id"]) == ("0", "3")
    torch.testing.assert_close(values(last), net(X).detach())
    assert [list(refusal) for refusal in refused] == [["message"]] * 2
    assert "nobody" in refused[0]["message"]
    assert "49" in refused[1]["message"]


def test_statistics_count_rows_executions_and_requests(told: Told):
    counted = told["statistics"]["answer"]
    assert counted == {
        "rows": 8,
        "executions": 2,
        "success": 2,
        "queue": 2,
        "compute_infer": 2,
        "takes_time": True,
        "is_recent": True,
    }


def test_metadata_and_config_tell_names_datatypes_and_shapes(told: Told):
    assert told["metadata"]["answer"]["inputs"] == [{"name": "input", "datatype": "FP32", "shape": ["-1", "50"]}]
    assert told["config"]["answer"]["batches"] is True
    assert told["config"]["answer"]["output"] == [{"name": "output", "data_type": "TYPE_FP32", "dims": ["3"]}]


def test_a_gradient_takes_a_vector_or_a_target_and_gives_what_was_differentiated(told_alone: Told):
    shapes = told_alone["gradient metadata"]["answer"]
    assert shapes == {
        "input": [-1, 50],
        "grad_output": [-1, 3],
        "target": [-1, 3],
        "loss": [],
        "output": [-1, 3],
        "input_gradient": [-1, 50],
    }
    assert told_alone["gradient config"]["answer"] == {"optional": ["grad_output", "target"], "batch": 0}


GRADIENTS = {
    "gradient of a loss": {},
    "gradient with an argument": {"label_smoothing": 0.25, "reduction": "sum"},
    **{f"classes of {dtype}": {} for dtype in ("int8", "uint8", "int16", "int32", "int64")},
    **{f"classes of {datatype} element by element": {} for datatype in ("INT8", "UINT8", "INT64")},
}
"""Cases of cross_entropy, with its arguments."""


@pytest.mark.parametrize("case", GRADIENTS)
def test_a_loss_and_its_gradient_are_torchs(told_alone: Told, net: nn.Sequential, case: str):
    answer, x = told_alone[case]["answer"], X.clone().requires_grad_()
    output = net(x)
    loss = functional.cross_entropy(output, CLASSES, **GRADIENTS[case])
    (gradient,) = torch.autograd.grad(loss, x)
    torch.testing.assert_close(values(answer, "loss"), loss.detach())
    torch.testing.assert_close(values(answer), output.detach())
    torch.testing.assert_close(values(answer, "input_gradient"), gradient)


@pytest.mark.parametrize("case", ["gradient along a vector", "gradient of one output"])
def test_a_vector_jacobian_product_is_torchs_and_has_no_loss(told_alone: Told, net: nn.Sequential, case: str):
    x = X.clone().requires_grad_()
    (product,) = torch.autograd.grad(net(x).sum(), x)
    answer = told_alone[case]["answer"]
    torch.testing.assert_close(values(answer, "input_gradient"), product)
    others = set() if case == "gradient of one output" else {"output"}
    assert answer["outputs"].keys() == {"input_gradient", *others}


def test_a_stream_has_gradients_too(told_alone: Told):
    first, refused, last = told_alone["gradient in a stream"]["answer"]
    assert (first["id"], last["id"]) == ("0", "2")
    assert first["outputs"] == last["outputs"]
    assert "class" in refused["message"]


def test_a_model_that_is_unloaded_is_unavailable_until_it_is_loaded(told_alone: Told):
    ready = {NET: "READY", f"{NET}.gradient": "READY"}
    away = [{NET: "UNAVAILABLE"}, False, "UNAVAILABLE"]
    assert told_alone["unloaded and loaded"]["answer"] == [ready, *away, ready, True]


def test_the_server_names_only_the_extensions_that_it_has(told_alone: Told):
    told_of = told_alone["server metadata"]["answer"]
    assert told_of["name"] == "gradserve"
    assert "statistics" in told_of["extensions"]
    assert not {"classification", "sequence", "system_shared_memory"} & set(told_of["extensions"])
