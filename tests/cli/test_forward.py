"""The command forward."""

import io
import json

import numpy as np
import pytest

from gradserve import Client

X = np.linspace(-1, 1, 100, dtype=np.float32).reshape(2, 50)


@pytest.fixture(scope="module")
def y(client: Client):
    """What the model answers to X."""
    return client.model("mlp-50-30-20-3").forward(X, deterministic=True)


def npy(array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz(**arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def csv(array) -> bytes:
    return "\n".join(",".join(map(str, row)) for row in array).encode()


FORMS = {
    "x.npy": npy(X),
    "x.npz": npz(x=X),
    "x.csv": csv(X),
    "x.json": json.dumps(X.tolist()).encode(),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_format_is_read_from_a_file(run, tmp_path, y, name):
    (tmp_path / name).write_bytes(FORMS[name])
    outcome = run("forward", "mlp-50-30-20-3", tmp_path / name, "--deterministic", "--json")
    np.testing.assert_array_equal(np.float32(json.loads(outcome.out)["output"]["data"]), y)


@pytest.mark.parametrize("name", FORMS)
def test_every_format_is_read_from_standard_input(run, y, name):
    outcome = run("forward", "mlp-50-30-20-3", "-", "--deterministic", "--json", stdin=FORMS[name])
    np.testing.assert_array_equal(np.float32(json.loads(outcome.out)["output"]["data"]), y)


def test_the_output_is_plain_csv_that_gives_the_same_numbers_back(run, y):
    outcome = run("forward", "mlp-50-30-20-3", json.dumps(X.tolist()), "--deterministic")
    np.testing.assert_array_equal(np.loadtxt(io.StringIO(outcome.out), np.float32, delimiter=","), y)


def test_one_output_is_the_next_input(run):
    run("create", "tail", "--in", 3, "--out", 1)
    first = run("forward", "mlp-50-30-20-3", json.dumps(X.tolist()))
    second = run("forward", "tail", "-", stdin=first.out.encode())
    run("delete", "tail")
    assert (second.code, len(second.out.splitlines())) == (0, 2)


@pytest.mark.parametrize("suffix", ["npy", "npz", "csv", "json"])
def test_every_format_is_written_and_read_back(run, tmp_path, y, suffix):
    run("create", "pass", "--layers", '[{"type": "Identity"}]', "--device", "cpu")
    run("forward", "mlp-50-30-20-3", json.dumps(X.tolist()), "--deterministic", "-o", tmp_path / f"y.{suffix}")
    outcome = run("forward", "pass", tmp_path / f"y.{suffix}", "--json")
    run("delete", "pass")
    np.testing.assert_array_equal(np.float32(json.loads(outcome.out)["output"]["data"]), y)


def test_a_written_output_is_named_with_its_dtype_and_shape(run, tmp_path):
    outcome = run("forward", "logistic-regression", "[[1.1], [2]]", "-o", tmp_path / "y.npy")
    assert outcome.out == f"{tmp_path / 'y.npy'}: output float32 [2, 1]\n"


def test_a_written_output_is_named_in_json(run, tmp_path):
    outcome = run("forward", "logistic-regression", "[[1.1]]", "-o", tmp_path / "y.npy", "--json")
    assert json.loads(outcome.out) == {
        "written": str(tmp_path / "y.npy"),
        "tensors": {"output": {"dtype": "float32", "shape": [1, 1]}},
    }


def test_nan_and_infinities_are_words_in_json(run):
    run("create", "sign", "--layers", '[{"type": "Identity"}]', "--device", "cpu")
    outcome = run("forward", "sign", '["NaN", "Infinity", "-Infinity", 1]', "--json")
    run("delete", "sign")
    assert json.loads(outcome.out, parse_constant=pytest.fail)["output"]["data"] == ["NaN", "Infinity", "-Infinity", 1]


def test_zero_rows_give_an_empty_output(run):
    outcome = run("forward", "logistic-regression", '{"dtype": "float32", "shape": [0, 1], "data": []}', "--json")
    assert json.loads(outcome.out)["output"] == {"dtype": "float32", "shape": [0, 1], "data": []}


def test_dtype_reads_text_in_that_dtype_without_a_detour(run):
    run("create", "double", "--layers", '[{"type": "Identity"}]', "--dtype", "float64", "--device", "cpu")
    plain, exact = (run("forward", "double", "[0.1]", *dtype).out for dtype in ((), ("--dtype", "float64")))
    run("delete", "double")
    assert (float(plain), float(exact)) == (float(np.float32(0.1)), 0.1)


def test_the_same_seed_gives_the_same_mask_in_training(run):
    run("create", "dropout", "--layers", '[{"type": "Dropout"}]', "--device", "cpu")
    ones = json.dumps([1.0] * 64)
    first, second, other = (run("forward", "dropout", ones, "--training", "--seed", seed).out for seed in (7, 7, 8))
    evaluated = run("forward", "dropout", ones).out
    run("delete", "dropout")
    assert first == second != other
    assert evaluated == "1.0\n" * 64


def test_another_version_than_expected_is_a_conflict(run):
    assert run("forward", "logistic-regression", "[[1]]", "--if-version", 1).code == 0
    assert run("forward", "logistic-regression", "[[1]]", "--if-version", 2).code == 6


def test_integers_in_a_file_with_a_dtype_are_refused_by_the_server_with_a_hint_and_cast_on_request(run, tmp_path):
    np.save(tmp_path / "x.npy", np.array([[1]]))
    refused = run("forward", "logistic-regression", tmp_path / "x.npy")
    assert refused.code == 4
    assert "cast" in refused.err
    assert run("forward", "logistic-regression", tmp_path / "x.npy", "--dtype", "float32").code == 0


def test_an_output_name_without_a_known_suffix_is_refused_before_anything_is_read(run):
    outcome = run("forward", "logistic-regression", "nowhere.npy", "-o", "y.pickle")
    assert outcome.code == 2
    assert "must end with .npy, .npz, .csv, .json" in outcome.err


def test_csv_cannot_hold_three_dimensions(run, tmp_path):
    outcome = run("forward", "logistic-regression", "[[[1]]]", "-o", tmp_path / "y.csv")
    assert outcome.code == 2
    assert "at most two dimensions" in outcome.err
