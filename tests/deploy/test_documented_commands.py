"""The commands for Docker that the documentation shows."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.deploy.engine import ROOT, Compose
from tests.docs.snippets import skipped

SECONDS = 240

pytestmark = pytest.mark.slow


def test_every_command_for_docker_succeeds_and_the_copy_is_whole(compose: Compose, tmp_path: Path):
    """All as they are shown, but that Grafana, whose image is not tested here, is left out of what is started."""
    env = {**os.environ, **compose.env, "COMPOSE_FILE": str(ROOT / "docker-compose.yml")}
    for snippet in skipped():
        if snippet.startswith("docker "):
            script = snippet.replace("--wait\n", "--wait server prometheus\n")
            command = ["/bin/bash", "-euxo", "pipefail", "-c", script]
            subprocess.run(command, cwd=tmp_path, env=env, timeout=SECONDS, check=True)
    with tarfile.open(tmp_path / "models.tar") as copy:
        assert "./digits" in copy.getnames()
