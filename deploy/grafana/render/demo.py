"""Draws the dashboard of a server that it starts itself, under traffic of every kind.

python -m deploy.grafana.render.demo --last 6m --output docs/dashboard.png
"""

from __future__ import annotations

import argparse
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gradserve
from benchmarks.processes import running
from deploy.grafana.render.dashboard import GRADSERVE, Dashboard
from deploy.grafana.render.durations import seconds_of
from deploy.grafana.render.picture import draw_last
from deploy.grafana.render.prometheus import Prometheus
from deploy.grafana.render.prometheus_process import run_prometheus
from deploy.grafana.render.traffic import QUEUE_ROWS, traffic

_SCRAPE_SECONDS = 5.0


@contextmanager
def busy_server(scrape_interval: float) -> Iterator[Prometheus]:
    """Run a server, callers of every kind, and a Prometheus, until the block ends.

    Args:
        scrape_interval: Seconds between two scrapes.

    Raises:
        OSError: The server or Prometheus does not start.
    """
    free = ("--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0")
    with tempfile.TemporaryDirectory() as folder:
        flags = ("--examples", "--data-dir", folder, "--set", f"batching.max_queue_rows={QUEUE_ROWS}")
        with running("gradserve", "serve", *free, *flags) as server:
            with gradserve.Client(server.target) as client:
                address = client.server_info().metrics_address
            with run_prometheus(address, scrape_interval) as prometheus, traffic(server.target):
                yield prometheus


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m deploy.grafana.render.demo", description="Draws a busy server.")
    parser.add_argument("--last", type=seconds_of, default="6m", help="for how long to call it (%(default)s)")
    parser.add_argument("--output", type=Path, required=True, help="the PNG to write")
    chosen = parser.parse_args()
    with busy_server(_SCRAPE_SECONDS) as prometheus:
        threading.Event().wait(chosen.last)
        draw_last(chosen.last, prometheus, Dashboard.read(GRADSERVE)).save(chosen.output)


if __name__ == "__main__":
    main()
