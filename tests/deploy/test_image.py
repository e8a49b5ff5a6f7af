"""The image: what is in it, what it weighs, and how it behaves without the compose file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.processes import IMAGE_ENVIRONMENT
from tests.deploy.engine import ROOT, docker
from tests.docs.test_tables import rows
from tests.support.waiting import seconds_until

DOCKERFILE = ROOT / "deploy" / "Dockerfile"
SECONDS = 120
MEGABYTE = 10**6

pytestmark = pytest.mark.slow

# Prints the bytes of torch and of all that it needs, as pip has written them down.
TORCH_BYTES = """
import re
from importlib.metadata import PackageNotFoundError, distribution

found, wanted = {}, ["torch"]
while wanted:
    name = wanted.pop()
    if name in found:
        continue
    try:
        found[name] = distribution(name)
    except PackageNotFoundError:
        continue
    needs = [text for text in found[name].requires or () if "extra ==" not in text]
    wanted += [re.match(r"[\\w.-]+", text)[0].lower() for text in needs]
files = {file.locate() for package in found.values() for file in package.files}
print(sum(path.stat().st_size for path in files if path.is_file()))
"""


def python(image: str, program: str) -> str:
    return docker("run", "--rm", "--entrypoint", "python", image, "-c", program)


def size(image: str) -> int:
    return int(docker("image", "inspect", "--format", "{{.Size}}", image))


def test_hadolint_finds_no_fault_in_the_dockerfile():
    program = Path(sys.executable).with_name("hadolint")
    found = subprocess.run([program, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


def test_the_image_is_at_most_150_megabytes_larger_than_its_base_and_torch(image: str):
    base = re.findall(r"^FROM (\S+)$", DOCKERFILE.read_text(), re.MULTILINE)[-1]
    docker("run", "--rm", base, "true")
    own = size(image) - size(base) - int(python(image, TORCH_BYTES))
    assert 0 < own <= 150 * MEGABYTE


def test_the_documentation_tells_the_layers_and_their_sizes(image: str):
    """Within a tenth: torch and its neighbours differ a little between processors."""
    table = [(float(told.split()[0]), told.split()[1]) for told, _ in rows("docs/deployment.md", "| size | layer |")]
    lines = docker("history", "--human=false", "--format", "{{.Size}}", image).splitlines()
    layers = [int(line) for line in lines if int(line)][: len(table)]
    unit = {"MB": 10**6, "kB": 10**3, "B": 1}
    assert layers == [pytest.approx(number * unit[name], rel=0.1) for number, name in table]


def test_nothing_is_in_it_that_no_server_runs(image: str):
    tools = docker("run", "--rm", "--entrypoint", "sh", image, "-c", "command -v gcc cc c++ make git curl || true")
    assert tools == ""
    # As root, who may look everywhere.
    look = "find / -xdev ( -path /build -o -path */.cache/pip -o -path /opt/*/tests -o -path /opt/*/pip )"
    assert docker("run", "--rm", "--user", "0", "--entrypoint", *look.split()[:1], image, *look.split()[1:]) == ""


def complaint(experiments: str) -> str:
    """What gRPC prints where it is asked for them."""
    environ = {**os.environ, "GRPC_EXPERIMENTS": experiments, "GRPC_VERBOSITY": "error"}
    command = [sys.executable, "-c", "import grpc.aio; grpc.aio.init_grpc_aio()"]
    return subprocess.run(command, env=environ, stderr=subprocess.PIPE, text=True, check=True).stderr


def test_grpc_knows_what_the_image_asks_of_it():
    assert "Unknown experiment" in complaint("-no_such_thing")
    assert complaint(IMAGE_ENVIRONMENT["GRPC_EXPERIMENTS"]) == ""


def test_the_servers_of_the_benchmarks_listen_as_the_image_does(image: str):
    told = docker("image", "inspect", "--format", "{{range .Config.Env}}{{println .}}{{end}}", image).split()
    assert IMAGE_ENVIRONMENT.items() <= dict(line.split("=", 1) for line in told).items()


def test_it_does_not_start_unprotected_until_it_is_told_that_nobody_else_can_reach_it(image: str):
    container = docker("create", image)
    docker("start", container)
    code = docker("wait", container)
    docker("rm", "--volumes", container)
    assert code == "2"


@pytest.fixture
def container(image: str) -> Iterator[str]:
    """A server as process 1, on a root file system that cannot be written, without any capability."""
    confined = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
    allowed = ("--env", "GRADSERVE_SERVER__SERVER__ALLOW_INSECURE=true")
    name = docker("run", "--detach", *confined, *allowed, image, "--examples")
    yield name
    docker("rm", "--force", "--volumes", name)


def health(container: str) -> str:
    return docker("inspect", "--format", "{{.State.Health.Status}}", container)


def test_the_bare_container_gets_healthy_answers_and_ends_with_exit_code_0_on_sigterm(container: str):
    seconds_until(lambda: health(container) == "healthy", SECONDS)
    told = docker("exec", container, "gradserve", "gradient", "logistic-regression", "[[1.1]]", "--loss", "sum")
    assert "layers.0.weight" in told
    assert "10001" in docker("exec", container, "cat", "/proc/1/status").partition("Uid:")[2].splitlines()[0]
    docker("kill", "--signal", "TERM", container)
    assert docker("wait", container) == "0"
