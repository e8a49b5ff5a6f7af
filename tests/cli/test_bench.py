"""The command bench: it loads the server as asked, counts what failed, and refuses what it cannot do."""

import json

import grpc
import numpy as np
import pytest
from rich.console import Console

import gradserve.codec
from gradserve.cli.load_generator.load import ClosedLoop
from gradserve.cli.load_generator.summary import Summary
from gradserve.cli.pages.bench_pages import SweepPage
from gradserve.v1.inference_pb2 import ForwardRequest
from gradserve.v1.inference_pb2_grpc import InferenceServiceStub
from gradserve.v1.model_pb2 import GetModelRequest
from gradserve.v1.model_pb2_grpc import ModelServiceStub
from tests.client.scripted_server import Refusal, scripted_server


def document(outcome) -> dict:
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


@pytest.mark.parametrize("operation", ["forward", "gradient"])
def test_a_closed_loop_tells_rate_and_percentiles(run, operation):
    told = document(run("bench", "digits", "--operation", operation, "--rows", 3, "--seconds", 0.2, "--json"))
    assert (told["model"], told["operation"], told["rows"], told["concurrency"]) == ("digits", operation, 3, 8)
    assert set(told["codes"]) == {"OK"}
    assert told["ok_per_second"] == pytest.approx(told["codes"]["OK"] / told["seconds"])
    latency = told["latency_seconds"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["max"] < 60


def test_an_open_loop_sends_as_often_as_asked(run):
    told = document(run("bench", "digits", "--rate", 100, "--seconds", 0.5, "--json"))
    assert told["rate"] == 100
    assert 25 <= told["codes"]["OK"] <= 75


def test_a_sweep_goes_through_all_concurrencies_and_finds_the_saturation(run):
    told = document(run("bench", "logistic-regression", "--sweep", "--seconds", 0.02, "--json"))
    assert [load["concurrency"] for load in told["loads"]] == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert told["saturation"] in told["loads"]


@pytest.mark.parametrize(
    "layers",
    [
        [{"type": "Identity"}],
        [{"type": "LayerNorm", "normalized_shape": [2, 3]}],
        [{"type": "BatchNorm1d", "num_features": 4}],
        [{"type": "Tanh"}, {"type": "Linear", "in_features": 5, "out_features": 2}],
    ],
    ids=lambda layers: layers[0]["type"],
)
def test_the_input_fits_any_architecture(run, layers):
    run("create", "measured", "--layers", json.dumps(layers), "--device", "cpu")
    outcome = run("bench", "measured", "--rows", 2, "--seconds", 0.02, "--json")
    run("delete", "measured")
    assert set(document(outcome)["codes"]) == {"OK"}


def test_calls_that_fail_are_counted_by_their_status_and_not_tried_again(run_anywhere, target):
    with grpc.insecure_channel(target) as channel:
        info = ModelServiceStub(channel).GetModel(GetModelRequest(name="digits"))
        x = gradserve.codec.encode(np.zeros((1, 64), np.float32))
        reply = InferenceServiceStub(channel).Forward(ForwardRequest(model="digits", input=x))
    refusal = Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, trailers=(("grpc-retry-pushback-ms", "1"),))
    # The first call is checked, the second opens the connection.
    with scripted_server(GetModel=[info], Forward=[reply, reply, refusal]) as (address, script):
        codes = document(run_anywhere("-s", address, "bench", "digits", "--seconds", 0.1, "--json"))["codes"]
        assert codes == {"OK": 0, "RESOURCE_EXHAUSTED": script.count("Forward") - 2}


def test_plain_text_has_a_line_for_each_figure(run):
    lines = run("bench", "digits", "--seconds", 0.05).out.splitlines()
    names = [line.partition(":")[0] for line in lines]
    assert names == ["load", "calls/s", "rows/s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms", "OK"]


def test_a_sweep_is_drawn_as_bars_as_long_as_the_rates():
    results = [(ClosedLoop(n), Summary(1.0, {"OK": rate}, {}, 0.0)) for n, rate in [(1, 50), (2, 97), (4, 100)]]
    console = Console(width=150, highlight=False)
    with console.capture() as captured:
        console.print(SweepPage("m", "forward", 1, results).screen(150))
    lines = captured.get().splitlines()
    assert [line.count("█") for line in lines if "█" in line] == [15, 29, 30]
    assert lines[-1] == "saturated at 97 calls/s, reached with 2 callers"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("nope",), 3, "NOT_FOUND"),
        (("digits", "--rate", "10", "--concurrency", "2"), 2, "exclude each other"),
        (("digits", "--rate", "10", "--sweep"), 2, "exclude each other"),
        (("digits", "--rate", "0"), 2, "--rate"),
        (("digits", "--seconds", "0"), 2, "--seconds"),
        (("digits", "--rows", "0"), 2, "--rows"),
        (("digits", "--rows", "2000000"), 7, "RESOURCE_EXHAUSTED"),
    ],
)
def test_what_cannot_be_measured_ends_with_its_code_and_one_line(run, arguments, code, says):
    outcome = run("bench", *arguments)
    assert (outcome.code, outcome.out) == (code, "")
    assert says in outcome.err
    assert len(outcome.err.splitlines()) == 1
