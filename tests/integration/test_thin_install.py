"""What `pip install gradserve` gives, without any extra: a client that needs no torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

pytestmark = pytest.mark.slow

CALL = """
import json, sys
import gradserve

with gradserve.Client(sys.argv[1]) as client:
    output = client.model("logistic-regression").forward([[1.1]])
print(json.dumps({
    "output": float(output[0][0]),
    "heavy": sorted({"torch", "pydantic", "prometheus_client", "gradserve_server"} & set(sys.modules)),
}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh virtual environment that holds nothing but the thin client."""
    environment = tmp_path_factory.mktemp("thin")
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    programs = environment / "bin"
    pip = [programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--constraint", ROOT / "constraints.txt", ROOT], check=True)
    return programs


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs a program outside the repository, so that it finds what is installed and nothing else."""
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def test_torch_is_not_installed(installed: Path, tmp_path: Path):
    assert run(installed / "python", "-c", "import torch", cwd=tmp_path).stderr.endswith("No module named 'torch'\n")


def test_the_client_calls_a_running_server_and_loads_nothing_heavy(installed: Path, target: str, tmp_path: Path):
    called = run(installed / "python", "-W", "error", "-c", CALL, target, cwd=tmp_path)
    assert called.returncode == 0, called.stderr
    assert json.loads(called.stdout) == {"output": pytest.approx(0.918_3, abs=5e-5), "heavy": []}


def test_serve_explains_the_missing_extra_in_one_line(installed: Path, tmp_path: Path):
    refused = run(installed / "gradserve", "serve", cwd=tmp_path)
    assert refused.returncode != 0
    assert refused.stdout == ""
    assert len(refused.stderr.splitlines()) == 1
    assert "gradserve[server]" in refused.stderr
