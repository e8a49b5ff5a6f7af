"""Nothing reads a pickle: not here, where the tests run, and not in the servers that they start."""

import subprocess
import sys
from pathlib import Path

from tests.support.pickle_readers import READERS, working
from tests.support.server import server_environment, start_server

ROOT = Path(__file__).parents[1]
PROGRAM = "from tests.support.pickle_readers import working; print(*working(), sep='\\n')"


def readers_of_a_process(env: dict[str, str] | None) -> list[str]:
    command = [sys.executable, "-W", "error", "-c", PROGRAM]
    ended = subprocess.run(command, env=env, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=120, check=True)
    return list(filter(None, ended.stdout.splitlines()))


def test_no_test_can_read_a_pickle():
    assert working() == []


def test_a_process_with_the_environment_of_a_server_cannot_read_a_pickle():
    assert readers_of_a_process(server_environment({})) == []


def test_any_other_process_can_read_them_all():
    """Otherwise the two tests above would show nothing."""
    assert readers_of_a_process(None) == list(READERS)


def test_a_server_that_a_test_starts_has_that_environment():
    with start_server(env={"PYTHONVERBOSE": "1"}) as server:
        log = server.log()
    assert "no_pickle" in log
    assert "Error in sitecustomize" not in log
