"""BentoML: HTTP with JSON, requests joined into batches."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from benchmarks.peers.servers.net_on_one_thread import from_command_line

if __name__ == "__main__":
    net, port = from_command_line()
    service = "benchmarks.peers.servers.bentoml_service:NetService"
    program = str(Path(sys.executable).with_name("bentoml"))
    command = [program, "serve", service, "--host", "127.0.0.1", "--port", str(port)]
    os.execve(program, command, {**os.environ, "NET": net.net.name})  # noqa: S606 - BentoML's own way to serve
