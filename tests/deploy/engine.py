"""Docker's command line, and the services of the compose file under a name of their own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_SECONDS = 240


def docker(*arguments: str, env: Mapping[str, str] | None = None) -> str:
    """Run one command from the top of the repository, and give what it prints.

    Raises:
        AssertionError: It failed.
    """
    command = ["docker", *arguments]
    environment = {**os.environ, **(env or {})}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


def config(*files: str) -> dict[str, Any]:
    """The services that some compose files of the repository make together, where nothing in the environment differs.

    Raises:
        AssertionError: They are not sound.
    """
    named = [word for file in files for word in ("--file", file)]
    services: dict[str, Any] = json.loads(docker("compose", *named, "config", "--format", "json"))["services"]
    return services


@dataclass(frozen=True)
class Compose:
    """The services of the compose file, in a project that nothing else on this machine has to do with.

    Attributes:
        project: Its name.
        image: The server's image.
    """

    project: str
    image: str
    env: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        free = dict.fromkeys(("GRADSERVE_PORT", "GRADSERVE_METRICS_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT"), "0")
        names = {"COMPOSE_PROJECT_NAME": self.project, "GRADSERVE_IMAGE": self.image}
        object.__setattr__(self, "env", {**free, **names})

    def __call__(self, *arguments: str) -> str:
        """Run one command of `docker compose`."""
        return docker("compose", *arguments, env=self.env)

    def up(self) -> None:
        """Start the services whose images can be had, and wait until they are healthy."""
        self("up", "--detach", "--wait", "server", "prometheus")

    def address(self, service: str, port: int) -> str:
        """Where a port of a service is published now."""
        return self("port", service, str(port))

    def container(self, service: str) -> dict[str, Any]:
        """What the engine knows of a service's container, stopped or not."""
        container: dict[str, Any] = json.loads(docker("inspect", self("ps", "--all", "--quiet", service)))[0]
        return container
