"""The command gradient: its options reach the server, and what comes back is printed whole."""

import json

import numpy as np
import pytest

from gradserve import Client

MODEL = "mlp-50-30-20-3"
X = np.linspace(-1, 1, 200, dtype=np.float32).reshape(4, 50)
CLASSES = np.array([0, 2, 1, 2])


@pytest.fixture
def x(tmp_path):
    """A file with the input."""
    np.save(tmp_path / "x.npy", X)
    return tmp_path / "x.npy"


def gradients(outcome) -> dict[str, np.ndarray]:
    assert outcome.code == 0, outcome.err
    return {name: np.float32(tensor["data"]) for name, tensor in json.loads(outcome.out)["gradients"].items()}


def assert_equal(actual, expected):
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(actual[name], array, err_msg=name)


def test_a_loss_gives_the_gradients_that_the_sdk_gives(run, client: Client, x):
    outcome = run(
        "gradient", MODEL, x, "--loss", "cross_entropy", "--target", "[0, 2, 1, 2]", "--deterministic", "--json"
    )
    expected = client.model(MODEL).gradient(X, CLASSES, loss="cross_entropy", deterministic=True)
    assert_equal(gradients(outcome), expected)
    assert np.float32(json.loads(outcome.out)["loss"]["data"]) == expected.loss


@pytest.mark.parametrize("name", ["y.npy", "y.csv", "y.json"])
def test_class_ids_are_read_from_every_format(run, client: Client, x, tmp_path, name):
    np.save(tmp_path / "y.npy", CLASSES)
    (tmp_path / "y.csv").write_text("class\n0\n2\n1\n2\n")
    (tmp_path / "y.json").write_text("[0, 2, 1, 2]")
    arguments = ("--loss", "cross_entropy", "--target", tmp_path / name, "--deterministic", "--json")
    expected = client.model(MODEL).gradient(X, CLASSES, loss="cross_entropy", deterministic=True)
    assert_equal(gradients(run("gradient", MODEL, x, *arguments)), expected)


def test_arguments_of_the_loss_are_numbers_flags_and_tensors(run, client: Client, x, tmp_path):
    (tmp_path / "weight.csv").write_text("1,2,0.5\n")
    arguments = (
        "--arg",
        f"weight=@{tmp_path / 'weight.csv'}",
        "--arg",
        "label_smoothing=0.1",
        "--arg",
        "ignore_index=1",
    )
    outcome = run("gradient", MODEL, x, "--loss", "cross_entropy", "--target", "[0, 2, 1, 2]", *arguments, "--json")
    kwargs = {"weight": np.float32([1, 2, 0.5]), "label_smoothing": 0.1, "ignore_index": 1}
    expected = client.model(MODEL).gradient(X, CLASSES, loss="cross_entropy", loss_kwargs=kwargs)
    for name, array in gradients(outcome).items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-5, atol=1e-7)


def test_a_flag_of_the_loss_is_true_or_false(run):
    arguments = ("logistic-regression", "[[1.1]]", "--loss", "poisson_nll_loss", "--target", "[[2]]", "--json")
    losses = [run("gradient", *arguments, "--arg", f"log_input={flag}").out for flag in ("true", "false")]
    assert json.loads(losses[0])["loss"] != json.loads(losses[1])["loss"]


def test_a_tensor_argument_may_stand_in_the_argument_itself(run, x):
    arguments = ("--loss", "cross_entropy", "--target", "[0, 2, 1, 2]")
    assert run("gradient", MODEL, x, *arguments, "--arg", "weight=[1, 1, 2]").code == 0


def test_a_vector_gives_a_vector_jacobian_product(run, client: Client, x, tmp_path):
    vector = np.linspace(0, 1, 12, dtype=np.float32).reshape(4, 3)
    np.save(tmp_path / "v.npy", vector)
    outcome = run(
        "gradient", MODEL, x, "--grad-output", tmp_path / "v.npy", "--wrt", "input", "--deterministic", "--json"
    )
    expected = client.model(MODEL).gradient(X, grad_output=vector, wrt="input", deterministic=True)
    assert_equal(gradients(outcome), expected)
    assert json.loads(outcome.out)["loss"] is None


def test_wrt_is_repeatable(run, x):
    outcome = run("gradient", MODEL, x, "--loss", "sum", "--wrt", "layers.4.*", "--wrt", "input", "--json")
    assert list(gradients(outcome)) == ["layers.4.weight", "layers.4.bias", "input"]


def test_per_sample_gives_one_gradient_per_row_and_return_output_the_output(run, x):
    arguments = ("--loss", "sum", "--wrt", "layers.4.bias", "--per-sample", "--return-output", "--json")
    document = json.loads(run("gradient", MODEL, x, *arguments).out)
    assert document["gradients"]["layers.4.bias"]["shape"] == [4, 3]
    assert document["loss"]["shape"] == [4]
    assert document["output"]["shape"] == [4, 3]


def test_reduction_none_takes_a_vector_of_the_losses_shape(run, x):
    arguments = ("--loss", "cross_entropy", "--target", "[0, 2, 1, 2]", "--reduction", "none")
    outcome = run("gradient", MODEL, x, *arguments, "--grad-output", "[1, 0, 0, 0]", "--json")
    assert json.loads(outcome.out)["loss"]["shape"] == [4]


def test_the_reply_tells_version_and_seed(run):
    run("create", "noisy", "--layers", '[{"type": "Dropout"}]', "--device", "cpu")
    arguments = ("--loss", "sum", "--wrt", "input", "--training", "--seed", 0, "--if-version", 1, "--json")
    document = json.loads(run("gradient", "noisy", "[1, 1]", *arguments).out)
    run("delete", "noisy")
    assert (document["model"], document["version"], document["seed"]) == ("noisy", 1, 0)


def test_plain_text_names_each_tensor_in_the_order_of_the_parameters(run, x):
    outcome = run("gradient", MODEL, x, "--loss", "sum", "--return-output", "--wrt", "*", "--wrt", "input")
    headers = [line.split()[1] for line in outcome.out.splitlines() if line.startswith("#")]
    parameters = [f"layers.{index}.{kind}" for index in (0, 2, 4) for kind in ("weight", "bias")]
    assert headers == ["loss", "output", *parameters, "input"]


def test_layer_10_comes_after_layer_9(run):
    layers = json.dumps([{"type": "PReLU"}] * 12)
    run("create", "deep", "--layers", layers, "--device", "cpu")
    outcome = run("gradient", "deep", "[1, 2]", "--loss", "sum", "--json")
    run("delete", "deep")
    assert list(gradients(outcome)) == [f"layers.{index}.weight" for index in range(12)]


def test_npz_holds_everything_by_name(run, x, tmp_path):
    run("gradient", MODEL, x, "--loss", "mean", "--wrt", "layers.0.*", "--return-output", "-o", tmp_path / "g.npz")
    with np.load(tmp_path / "g.npz", allow_pickle=False) as archive:
        shapes = {name: archive[name].shape for name in archive.files}
    assert shapes == {"loss": (), "output": (4, 3), "layers.0.weight": (30, 50), "layers.0.bias": (30,)}


def test_a_written_loss_is_printed_with_its_value(run, tmp_path):
    arguments = ("gradient", "logistic-regression", "[[0]]", "--loss", "sum", "-o", tmp_path / "g.npz")
    assert run(*arguments).out.splitlines()[0] == f"{tmp_path / 'g.npz'}: loss float32 [] = 0.5"
    assert json.loads(run(*arguments, "--json").out)["tensors"] == {
        "loss": {"dtype": "float32", "shape": [], "data": 0.5},
        "layers.0.bias": {"dtype": "float32", "shape": [1]},
        "layers.0.weight": {"dtype": "float32", "shape": [1, 1]},
    }


def test_json_holds_what_json_prints(run, x, tmp_path):
    arguments = ("gradient", MODEL, x, "--loss", "mean", "--deterministic")
    run(*arguments, "-o", tmp_path / "g.json")
    assert (tmp_path / "g.json").read_text() == run(*arguments, "--json").out


def test_npy_holds_a_single_gradient_and_refuses_more(run, x, tmp_path):
    vector = json.dumps([[1.0] * 3] * 4)
    run("gradient", MODEL, x, "--grad-output", vector, "--wrt", "input", "-o", tmp_path / "g.npy")
    assert np.load(tmp_path / "g.npy").shape == (4, 50)
    refused = run("gradient", MODEL, x, "--loss", "sum", "--wrt", "input", "-o", tmp_path / "g.npy")
    assert refused.code == 2
    assert ".npy holds one tensor, not 2 (loss, input)" in refused.err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--loss", "mse_loss", "--arg", "beta"), 2, "must be NAME=VALUE"),
        (("--loss", "mse_loss", "--arg", "=1"), 2, "must be NAME=VALUE"),
        (("--loss", "mse_loss", "--arg", "a=1", "--arg", "a=2"), 2, "the same name twice"),
        (("--loss", "mse_loss", "--arg", "beta=much"), 2, "must be a number, true, false or @FILE"),
        (("--loss", "mse_loss", "--arg", "weight=@nowhere.npy"), 2, "No such file"),
        (("--loss", "mse_loss", "--target", "nowhere.npy"), 2, "No such file"),
        (("--grad-output", "nowhere.npy"), 2, "No such file"),
        (("--loss", "mse_loss", "--target", "-", "--grad-output", "-"), 2, "only one tensor"),
        (("--loss", "mse_loss", "--target", "-", "--arg", "weight=@-"), 2, "only one tensor"),
        ((), 4, "INVALID_ARGUMENT"),
        (("--target", "[[1]]"), 4, "loss"),
        (("--loss", "no_such_loss", "--target", "[[1]]"), 4, "no_such_loss"),
        (("--loss", "mse_loss", "--target", "[[1]]", "--arg", "gamma=1"), 4, "gamma"),
        (("--loss", "mse_loss"), 4, "target"),
        (("--loss", "mse_loss", "--target", "[[1], [2]]"), 4, "target"),
        (("--loss", "mse_loss", "--target", "[[1]]", "--reduction", "most"), 4, "reduction"),
        (("--loss", "sum", "--wrt", "layers.9.*"), 4, "layers.9.*"),
    ],
)
def test_a_wrong_request_ends_with_its_code_and_says_what_is_wrong(run, arguments, code, says):
    outcome = run("gradient", "logistic-regression", "[[1.1]]", *arguments)
    assert (outcome.code, outcome.out) == (code, "")
    assert says in outcome.err
    assert len(outcome.err.splitlines()) == 1
