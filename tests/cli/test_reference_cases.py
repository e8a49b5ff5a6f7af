"""The three reference cases, through the command line."""

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch
from torch import nn

IDENTITY = '[{"type": "Identity"}]'


def test_logistic_regression_has_the_known_gradients(run):
    arguments = ("logistic-regression", "[[1.1]]", "--target", "[[1]]", "--loss", "binary_cross_entropy")
    outcome = run("gradient", *arguments, "--json")
    gradients = json.loads(outcome.out)["gradients"]
    assert gradients["layers.0.weight"]["data"] == [[pytest.approx(-0.0898, abs=5e-5)]]
    assert gradients["layers.0.bias"]["data"] == [pytest.approx(-0.0817, abs=5e-5)]


def test_logistic_regression_prints_the_known_gradients_in_plain_text(run):
    outcome = run("gradient", "logistic-regression", "[[1.1]]", "--target", "[[1]]", "--loss", "binary_cross_entropy")
    lines = outcome.out.splitlines()
    assert lines[lines.index("# layers.0.weight float32 [1, 1]") + 1].startswith("-0.0898")
    # Rounded, not cut: -0.08166.
    assert lines[lines.index("# layers.0.bias float32 [1]") + 1].startswith("-0.0816")


def test_the_mlp_has_2213_parameters_under_torchs_names(run):
    model = json.loads(run("info", "mlp-50-30-20-3", "--json").out)
    assert model["trainable_parameters"] == 2213
    names = [f"layers.{index}.{kind}" for index in (0, 2, 4) for kind in ("weight", "bias")]
    assert [parameter["name"] for parameter in model["named_parameters"]] == names


def test_a_seeded_mlp_computes_bit_for_bit_what_torch_computes(run, tmp_path: Path):
    run("create", "seeded", "--in", 50, "--hidden", "30,20", "--out", 3, "--seed", 123, "--device", "cpu")
    torch.manual_seed(123)
    local = nn.Sequential(nn.Linear(50, 30), nn.ReLU(), nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 3))
    x = torch.randn(7, 50)
    np.save(tmp_path / "x.npy", x.numpy())
    run("forward", "seeded", tmp_path / "x.npy", "--deterministic", "-o", tmp_path / "y.npy")
    run("delete", "seeded")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.no_grad():
        expected = local(x).numpy()
    torch.set_num_threads(threads)
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), expected)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 1, 3)])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_every_rank_and_floating_dtype_passes_through_an_identity_unchanged(run, shape, dtype):
    name = f"identity-{dtype}-{len(shape)}"
    run("create", name, "--layers", IDENTITY, "--dtype", dtype, "--device", "cpu")
    sent = np.arange(np.prod(shape, dtype=int)).reshape(shape) / 3
    sent = sent.astype(getattr(ml_dtypes if dtype == "bfloat16" else np, dtype))
    document = {"dtype": dtype, "shape": list(shape), "data": sent.astype(float).tolist()}
    outcome = run("forward", name, "-", "--json", stdin=json.dumps(document).encode())
    run("delete", name)
    assert json.loads(outcome.out)["output"] == document


def test_a_transposed_array_is_sent_as_it_reads_not_as_it_lies(run, tmp_path: Path):
    run("create", "transposed", "--layers", IDENTITY, "--device", "cpu")
    x = np.arange(6, dtype=np.float32).reshape(2, 3).T
    np.save(tmp_path / "x.npy", x)
    outcome = run("forward", "transposed", tmp_path / "x.npy")
    run("delete", "transposed")
    assert outcome.out == "0.0,3.0\n1.0,4.0\n2.0,5.0\n"
