"""The benchmarks as programs, each as small as it can be: it measures what it says, and prints it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.checks import Check, show
from benchmarks.machine import Machine

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("h2load")]

ROOT = Path(__file__).resolve().parents[2]


def run(module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def found(ended: subprocess.CompletedProcess[str]) -> dict[str, dict]:
    """The checks that a program printed, by their names up to the first number."""
    assert ended.returncode in {0, 1}, ended.stderr
    return {check["name"]: check for check in json.loads(ended.stdout)["checks"]}


def test_the_hot_path_has_a_ratio_for_each_row(tmp_path):
    """Each measurement checks a reply, and that the server counts as many OK as were sent."""
    files = ("--json", tmp_path / "figures.json", "--plot", tmp_path / "figures.png")
    ended = run("hot_path", "--rounds", 1, "--seconds", 0.05, "--only", "forward,gradient,streams", *files)
    assert ended.returncode == 0, ended.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())["figures"]
    assert [(figure["name"], figure["load"]) for figure in figures] == [
        ("Forward S", "1x1"),
        ("Forward S", "4x2"),
        ("Forward S", "8x8"),
        ("Forward B", "8x8"),
        ("Forward B", "16x16"),
        ("Forward B, one caller", "1x1"),
        ("Gradient S by the input", "4x2"),
        ("Gradient S by the input", "8x8"),
        ("Gradient B by the input", "8x8"),
        ("Gradient B by all parameters, 64 rows", "1x1"),
        ("Forward S over 1 stream", "1 in flight"),
        ("Forward S over 4 streams", "64 in flight"),
    ]
    assert all(figure["ratio"] > 0 for figure in figures)
    assert (tmp_path / "figures.png").read_bytes().startswith(b"\x89PNG")
    assert ended.stdout.count("≥") == len(figures)


def test_derivatives_are_compared_before_they_are_timed(tmp_path):
    ended = run("derivatives", "--rounds", 1, "--calls", 1, "--plot", tmp_path / "derivatives.png")
    assert ended.returncode == 0, ended.stderr
    assert all(name in ended.stdout for name in ("Jacobian by the input", "Norms of", "Hessian-vector product"))
    assert (tmp_path / "derivatives.png").read_bytes().startswith(b"\x89PNG")


def test_the_latency_of_half_the_saturation_has_nine_rounds(tmp_path):
    ended = run("hot_path", "--seconds", 0.1, "--only", "latency", "--json", tmp_path / "figures.json")
    assert ended.returncode == 0, ended.stderr
    (figure,) = json.loads((tmp_path / "figures.json").read_text())["figures"]
    assert len(figure["rounds"]) == 9


def test_a_section_that_there_is_not_is_refused():
    ended = run("hot_path", "--only", "sideways")
    assert ended.returncode == 2
    assert "sideways must be of forward, gradient" in ended.stderr


def test_an_overload_is_judged_by_all_that_must_hold():
    checks = found(run("overload", "--quick", "--only", "heavy", "--json"))
    assert len(checks) == 9
    assert float(checks["heavy: a lone call takes, ms"]["found"]) >= 2
    assert checks["heavy: refusals without pushback"]["holds"]
    assert checks["heavy: statuses"]["holds"]


def test_a_planted_leak_is_found():
    checks = found(run("endurance", "--quick", "--only", "leak", "--json"))
    planted = checks["the same with a leak of 1 KB planted"]
    assert planted["holds"]
    assert float(planted["found"]) > 0.5


def test_calls_that_expire_or_are_cancelled_while_they_wait_are_not_computed():
    checks = found(run("endurance", "--quick", "--only", "queue", "--json"))
    assert [check for check in checks.values() if not check["holds"]] == []


def test_one_check_that_fails_makes_a_program_fail(capsys):
    good, bad = Check.at_least("a", 2, 1), Check.at_most("b", 2, 1)
    assert show("title", Machine.here(), [good], as_json=False)
    assert not show("title", Machine.here(), [good, bad], as_json=False)
    assert "FAILS" in capsys.readouterr().out
