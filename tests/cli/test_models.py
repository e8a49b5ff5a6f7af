"""The commands models, info, create and delete."""

import json

import pytest

from gradserve import Client

LAYERS = [
    {"type": "Linear", "in_features": 4, "out_features": 2, "bias": False},
    {"type": "LayerNorm", "normalized_shape": [2], "eps": 0.5},
    {"type": "GELU", "approximate": "tanh"},
]


def test_models_lists_the_bundled_models_in_a_table_with_tabs(run):
    lines = run("models").out.splitlines()
    assert lines[0].split("\t") == ["NAME", "DEVICE", "DTYPE", "PARAMETERS", "TRAINABLE", "VERSION", "STATE"]
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in lines[1:]}
    assert rows["mlp-50-30-20-3"][1:] == ["float32", "2213", "2213", "1", "serving"]
    assert {"digits", "logistic-regression"} <= rows.keys()


def test_models_as_json_tells_of_each_model_what_info_tells(run):
    models = {model["name"]: model for model in json.loads(run("models", "--json").out)["models"]}
    assert models["digits"] == json.loads(run("info", "digits", "--json").out)


def test_info_prints_the_facts_the_parameters_and_the_model_as_torch_does(run):
    out = run("info", "logistic-regression").out
    assert "total_parameters: 2\n" in out
    assert "layers.0.weight\t[1, 1]\tfloat32\ttrue\n" in out
    assert "(0): Linear(in_features=1, out_features=1, bias=True)\n" in out


def test_info_without_a_name_describes_the_server(run):
    server = json.loads(run("info", "--json").out)
    assert server["limits"]["max_message_bytes"] == 64 * 2**20
    assert "cross_entropy" in server["losses"]
    assert "max_message_bytes: 67108864\n" in run("info").out


def test_create_makes_the_model_and_prints_it(run, client: Client):
    outcome = run("create", "made", "--in", 3, "--hidden", "4, 5", "--out", 2, "--activation", "Tanh", "--json")
    info = client.model("made").info()
    run("delete", "made")
    assert [layer.type for layer in info.architecture.layers] == ["Linear", "Tanh", "Linear", "Tanh", "Linear"]
    assert json.loads(outcome.out)["total_parameters"] == info.total_parameters == 3 * 4 + 4 + 4 * 5 + 5 + 5 * 2 + 2


@pytest.mark.parametrize("hidden", [(), ("--hidden", "")])
def test_without_hidden_layers_create_makes_one_linear_layer(run, hidden):
    outcome = run("create", "linear", "--in", 3, "--out", 2, *hidden, "--json")
    run("delete", "linear")
    assert [layer["type"] for layer in json.loads(outcome.out)["layers"]] == ["Linear"]


def test_create_takes_seed_dtype_and_device(run):
    arguments = ("--seed", -5, "--dtype", "bfloat16", "--device", "cpu")
    model = json.loads(run("create", "exact", "--in", 1, "--out", 1, *arguments, "--json").out)
    run("delete", "exact")
    assert (model["seed"], model["dtype"], model["device"]) == (-5, "bfloat16", "cpu")


def test_create_takes_layers_from_a_file_and_info_gives_them_back(run, tmp_path):
    (tmp_path / "layers.json").write_text(json.dumps(LAYERS))
    run("create", "layered", "--layers", tmp_path / "layers.json")
    told = json.loads(run("info", "layered", "--json").out)["layers"]
    run("delete", "layered")
    for sent, back in zip(LAYERS, told, strict=True):
        assert sent.items() <= back.items()


def test_the_layers_that_info_prints_make_the_same_model(run):
    layers = json.dumps(json.loads(run("info", "digits", "--json").out)["layers"])
    made = json.loads(run("create", "copy", "--layers", "-", "--json", stdin=layers.encode()).out)
    run("delete", "copy")
    assert json.dumps(made["layers"]) == layers


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "--in and --out are required"),
        (("--in", 3), "--in and --out are required"),
        (("--in", "x", "--out", 3), "'x' is not a valid integer"),
        (("--in", 3, "--out", 3, "--hidden", "4,,5"), "not a list of widths"),
        (("--in", 3, "--out", 3, "--hidden", "4;5"), "not a list of widths"),
        (("--in", 3, "--out", 3, "--dtype", "int64"), "'int64' is not one of"),
        (("--in", 3, "--layers", "[]"), "--layers stands instead"),
        (("--layers", "{}"), "must be a list of layers"),
        (("--layers", "[3]"), "layer 0: it must be an object"),
        (("--layers", '[{"type": "ReLU"}, {"in": 3}]'), "layer 1: it must be an object"),
        (("--layers", '[{"type": "ReLU", "inplace": null}]'), "'inplace' must be a number"),
        (("--layers", '[{"type": "LayerNorm", "normalized_shape": [2.5]}]'), "'normalized_shape' must be"),
        (("--layers", "[{"), "is not JSON"),
        (("--layers", "nowhere.json"), "No such file"),
    ],
)
def test_create_refuses_a_wrong_command_line_before_anything_is_sent(run, arguments, says):
    outcome = run("create", "wrong", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert says in outcome.err


@pytest.mark.parametrize("arguments", [("--in", 2**70), ("--in", 1, "--seed", 2**70), ("--in", 1, "--hidden", 2**70)])
def test_a_number_beyond_the_wire_is_refused_by_its_value(run, arguments):
    outcome = run("create", "wrong", "--out", 1, *arguments)
    assert outcome.code == 4
    assert str(2**70) in outcome.err


def test_delete_names_the_model_and_the_version_that_it_had(run):
    run("create", "gone", "--in", 1, "--out", 1)
    outcome = run("delete", "gone")
    assert outcome.out.startswith("deleted gone, version ")
    assert "gone" not in run("models").out


def test_delete_as_json_names_the_model_and_the_version(run):
    version = json.loads(run("create", "gone-too", "--in", 1, "--out", 1, "--json").out)["version"]
    assert json.loads(run("delete", "gone-too", "--json").out) == {"deleted": "gone-too", "version": version}


def test_delete_of_another_version_is_a_conflict_and_deletes_nothing(run):
    run("create", "kept", "--in", 1, "--out", 1)
    assert run("delete", "kept", "--if-version", 99).code == 6
    assert run("delete", "kept").code == 0
