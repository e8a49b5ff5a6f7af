"""A Prometheus in a process of its own, with the rules of deploy/prometheus."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.grafana.render.durations import duration_of
from deploy.grafana.render.prometheus import Prometheus

CONFIGURATION = Path(__file__).resolve().parents[2] / "prometheus"

_START_SECONDS = 30
_STOP_SECONDS = 30


@contextmanager
def run_prometheus(target: str, scrape_interval: float) -> Iterator[Prometheus]:
    """Run `prometheus` until the block ends; it keeps nothing.

    Args:
        target: The server to scrape: "HOST:PORT".
        scrape_interval: Seconds between two scrapes, and between two evaluations of the rules.

    Raises:
        OSError: It is not installed, or does not start.
    """
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(CONFIGURATION, folder, dirs_exist_ok=True)
        file = Path(folder, "prometheus.yml")
        configuration = file.read_text().replace("server:9464", target).replace("15s", duration_of(scrape_interval))
        file.write_text(configuration)
        address = f"127.0.0.1:{_free_port()}"
        flags = [f"--config.file={file}", f"--storage.tsdb.path={folder}/data", f"--web.listen-address={address}"]
        with subprocess.Popen(["prometheus", *flags, "--log.level=error"]) as process:  # noqa: S603, S607 - on the PATH
            try:
                _wait_until_ready(f"http://{address}", process)
                yield Prometheus(f"http://{address}")
            finally:
                process.terminate()
                process.wait(_STOP_SECONDS)


def _free_port() -> int:
    # Prometheus does not tell which port it was given for 0.
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(_START_SECONDS * 20):
        try:
            urllib.request.urlopen(f"{url}/-/ready").close()  # noqa: S310 - the process just started
        except OSError:
            threading.Event().wait(0.05)
        else:
            return
        if process.poll() is not None:
            break
    raise OSError("Prometheus did not start")
