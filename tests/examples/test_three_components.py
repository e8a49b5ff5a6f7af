"""The tour runs against a real server, and notices when a number is not torch's."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.server import start_server

TOUR = Path(__file__).resolve().parents[2] / "examples" / "three_components.py"

OTHER_WEIGHTS = """
[models.logistic-regression]
layers = [{ type = "Linear", in_features = 1, out_features = 1 }, { type = "Sigmoid" }]
seed = 1
"""


def walk(target: str) -> subprocess.CompletedProcess[str]:
    """Takes the tour at a server."""
    environ = {**os.environ, "GRADSERVE_TARGET": target}
    command = [sys.executable, "-W", "error", TOUR]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)


def test_every_step_is_equal_to_torch_in_process(target: str):
    walked = walk(target)
    assert walked.returncode == 0, walked.stdout + walked.stderr
    assert "DIFFERENT" not in walked.stdout
    assert walked.stdout.endswith(" steps are equal to torch in process.\n")


def test_it_leaves_no_model_behind(target: str, client):
    before = [model.name for model in client.list_models()]
    walk(target)
    assert [model.name for model in client.list_models()] == before


def test_it_fails_where_a_number_differs():
    with start_server("--examples", config=OTHER_WEIGHTS) as server:
        walked = walk(server.target)
    assert walked.returncode == 1
    assert "DIFFERENT" in walked.stdout


def test_it_says_in_two_lines_that_there_is_no_server():
    walked = walk("127.0.0.1:1")
    assert walked.returncode == 1
    assert len(walked.stderr.splitlines()) == 2
    assert "make serve" in walked.stderr
