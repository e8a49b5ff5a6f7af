"""A program in JavaScript that has the proto files alone gets the numbers that torch computes in process."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

HERE = Path(__file__).resolve().parent
PROTOS = HERE.parent.parent / "protos"


@pytest.fixture(scope="module")
def run(target: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """Gives what a program prints. Without Node.js there is nothing to run it: a failure in CI, a skip elsewhere."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not (node and npm):
        message = "node and npm are not installed"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    project = tmp_path_factory.mktemp("interop")
    for name in ("package.json", "package-lock.json", "call.mjs", "open_inference.mjs"):
        shutil.copy(HERE / name, project)
    subprocess.run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=project, check=True)

    def printed(program: str) -> dict[str, Any]:
        called = subprocess.run([node, program, target, PROTOS], cwd=project, check=True, stdout=subprocess.PIPE)
        return json.loads(called.stdout)

    return printed


@pytest.fixture(scope="module")
def replies(run: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """By the services of Gradserve."""
    return run("call.mjs")


@pytest.fixture(scope="module")
def open_inference(run: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """By the Open Inference Protocol."""
    return run("open_inference.mjs")


@pytest.fixture(scope="module")
def expected() -> dict[str, torch.Tensor]:
    """The reference case, in process: x = 1.1, w = 2.2, b = 0, y = 1."""
    leaves = {"input": [[1.1]], "layers.0.weight": [[2.2]], "layers.0.bias": [0.0]}
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in leaves.items()}
    output = torch.sigmoid(functional.linear(tensors["input"], tensors["layers.0.weight"], tensors["layers.0.bias"]))
    loss = functional.binary_cross_entropy(output, torch.ones(1, 1))
    gradients = torch.autograd.grad(loss, list(tensors.values()))
    return {"output": output, "loss": loss, **dict(zip(tensors, gradients, strict=True))}


def assert_close(actual: dict[str, Any], expected: torch.Tensor, dtype: str = "DATA_TYPE_FLOAT32") -> None:
    assert actual["dtype"] == dtype
    torch.testing.assert_close(torch.tensor(actual["values"]).reshape(actual["shape"]), expected.detach())


def test_forward_returns_the_output(replies: dict[str, Any], expected: dict[str, torch.Tensor]):
    assert_close(replies["output"], expected["output"])


def test_gradient_returns_the_loss(replies: dict[str, Any], expected: dict[str, torch.Tensor]):
    assert_close(replies["loss"], expected["loss"])


@pytest.mark.parametrize("name", ["input", "layers.0.weight", "layers.0.bias"])
def test_gradient_returns_the_gradient(name: str, replies: dict[str, Any], expected: dict[str, torch.Tensor]):
    assert_close(replies["gradients"][name], expected[name])


@pytest.mark.parametrize(("name", "digits"), [("layers.0.weight", -0.0898), ("layers.0.bias", -0.0817)])
def test_gradient_returns_the_digits_of_the_reference(name: str, digits: float, replies: dict[str, Any]):
    assert replies["gradients"][name]["values"][0] == pytest.approx(digits, abs=5e-5)


def test_the_version_of_a_fresh_model_is_one(replies: dict[str, Any]):
    assert replies["version"] == 1


def test_a_refusal_has_its_status(replies: dict[str, Any]):
    assert replies["refusal"] == "NOT_FOUND"


def test_model_infer_returns_the_output(open_inference: dict[str, Any], expected: dict[str, torch.Tensor]):
    assert_close(open_inference["forward"]["output"], expected["output"], "FP32")
    assert (open_inference["version"], open_inference["refusal"]) == ("1", "NOT_FOUND")


@pytest.mark.parametrize(("output", "name"), [("loss", "loss"), ("output", "output"), ("input_gradient", "input")])
def test_model_infer_of_the_gradient_returns_loss_output_and_gradient(
    output: str, name: str, open_inference: dict[str, Any], expected: dict[str, torch.Tensor]
):
    assert_close(open_inference["gradient"][output], expected[name], "FP32")
