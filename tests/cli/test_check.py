"""The command check: what the server measures is shown whole, and a wrong derivative ends it with exit code 1."""

import json
import math
from collections.abc import Iterator

import numpy as np
import pytest
from rich.console import Console

import gradserve
from gradserve.cli.pages.check_page import CheckPage
from tests.support.server import WRONG_GRADSERVE, start_server

MODEL = "mlp-50-30-20-3"
SEED = 7


@pytest.fixture(scope="module")
def wrong_target() -> Iterator[str]:
    """Where a server listens whose derivative of Tanh is wrong, with the model "wrong"."""
    with start_server(program=WRONG_GRADSERVE) as running, gradserve.Client(running.target) as client:
        client.create_model("wrong", gradserve.MLP(3, [5], 2, activation="Tanh"), seed=0, device="cpu")
        yield running.target


def shown(checked: gradserve.CheckedGradients) -> list[str]:
    console = Console(width=120, highlight=False)
    with console.capture() as captured:
        console.print(CheckPage("m", checked).screen(120))
    return captured.get().splitlines()


def checked(*remainders: float, value: float = 2.0, passed: bool = True) -> gradserve.CheckedGradients:
    """One check of Taylor's with these remainders, and one that is left out."""
    taylor = tuple(gradserve.TaylorRemainder(10.0**-place, item) for place, item in enumerate(remainders))
    checks = (
        gradserve.GradientCheck("taylor", "input", passed, value, 1.5, taylor, ""),
        gradserve.GradientCheck("hvp_symmetry", "input", True, 0.0, 1e-6, (), "RReLU has none"),
    )
    return gradserve.CheckedGradients(passed, checks, 3, SEED)


def test_json_has_every_number_that_the_sdk_gives(run, client):
    told = json.loads(run("check", MODEL, "--seed", SEED, "--json").out)
    expected = client.model(MODEL).check_gradients(seed=SEED)
    assert (told["model"], told["passed"], told["version"], told["seed"]) == (MODEL, True, expected.version, SEED)
    assert [(check["name"], check["wrt"]) for check in told["checks"]] == [(c.name, c.wrt) for c in expected.checks]
    assert [check["value"] for check in told["checks"]] == pytest.approx([check.value for check in expected.checks])
    assert [len(check["remainders"]) for check in told["checks"]] == [len(c.remainders) for c in expected.checks]


def test_plain_text_has_a_line_for_each_check_and_each_remainder(run, client):
    outcome = run("check", MODEL, "--seed", SEED)
    assert outcome.code == 0
    facts, checks, remainders = (part.splitlines() for part in outcome.out.split("\n\n"))
    expected = client.model(MODEL).check_gradients(seed=SEED).checks
    assert facts == ["version: 1", f"seed: {SEED}", "passed: true"]
    assert [line.split("\t")[:2] for line in checks[1:]] == [[check.name, check.wrt] for check in expected]
    assert {line.split("\t")[4] for line in checks[1:]} == {"yes"}
    assert len(remainders) == 1 + sum(len(check.remainders) for check in expected)


def test_input_loss_and_target_reach_the_server(run, client, tmp_path):
    x = np.linspace(-1, 1, 200, dtype="float32").reshape(4, 50)
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "y.csv").write_text("class\n0\n2\n1\n2\n")
    arguments = ("--loss", "cross_entropy", "--target", tmp_path / "y.csv", "--seed", SEED, "--json")
    told = json.loads(run("check", MODEL, tmp_path / "x.npy", *arguments).out)
    expected = client.model(MODEL).check_gradients(x, [0, 2, 1, 2], loss="cross_entropy", seed=SEED)
    for check, wanted in zip(told["checks"], expected.checks, strict=True):
        for own, other in zip(check["remainders"], wanted.remainders, strict=True):
            assert own["remainder"] == pytest.approx(other.remainder, rel=1e-3, abs=1e-12)


def test_a_wrong_derivative_ends_it_with_exit_code_1_and_says_which(run_anywhere, wrong_target):
    outcome = run_anywhere("-s", wrong_target, "check", "wrong", "--seed", SEED)
    assert (outcome.code, outcome.err) == (1, "")
    rows = [line.split("\t") for line in outcome.out.splitlines()]
    assert ["adjoint", "input"] in [row[:2] for row in rows if row[-1] == "no"]
    assert ["finite_differences", "input"] in [row[:2] for row in rows if row[-1] == "no"]


def test_json_of_a_wrong_derivative_comes_with_exit_code_1_too(run_anywhere, wrong_target):
    outcome = run_anywhere("-s", wrong_target, "check", "wrong", "--json")
    assert (outcome.code, json.loads(outcome.out)["passed"]) == (1, False)


def test_a_terminal_shows_bars_that_are_as_long_as_the_remainders_have_decades():
    lines = shown(checked(1e-8, 1e-13, 0.0))
    assert [line.count("█") for line in lines if "█" in line] == [40, 20, 4]
    assert lines[-1] == "all checks passed"


def test_a_terminal_says_how_many_failed_and_what_was_left_out():
    lines = shown(checked(1e-2, 1e-3, value=1.0, passed=False))
    assert lines[-1] == "1 of 2 checks failed"
    assert any("left out: RReLU has none" in line for line in lines)


def test_numbers_that_are_not_finite_are_null_in_json_and_are_shown():
    page = CheckPage("m", checked(math.inf, math.nan, value=math.nan, passed=False))
    first = page.document()["checks"][0]
    assert first["value"] is None
    assert [item["remainder"] for item in first["remainders"]] == [None, None]
    assert "inf" in page.plain()
    assert any("nan" in line for line in shown(page.checked))


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("nope",), 3, "NOT_FOUND"),
        ((MODEL, "missing.npy"), 2, "missing.npy"),
        ((MODEL, "[[1, 2]]"), 4, "input"),
        ((MODEL, "--target", "[0]"), 4, "loss"),
        ((MODEL, "-", "--target", "-"), 2, "standard input"),
        ((MODEL, "--if-version", 9), 6, "FAILED_PRECONDITION"),
    ],
)
def test_what_cannot_be_checked_ends_with_its_code_and_one_line(run, arguments, code, says):
    outcome = run("check", *arguments)
    assert (outcome.code, outcome.out) == (code, "")
    assert says in outcome.err
    assert len(outcome.err.splitlines()) == 1
