"""A server under traffic of every kind, scraped by a Prometheus."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from deploy.grafana.render.__main__ import DASHBOARD
from deploy.grafana.render.dashboard import Dashboard, Panel, Target
from deploy.grafana.render.lines import Line, Source
from deploy.grafana.render.prometheus import Prometheus, Window
from deploy.grafana.render.prometheus_process import run_prometheus
from deploy.grafana.render.traffic import QUEUE_ROWS, traffic
from tests.support.server import start_server
from tests.support.waiting import seconds_until

SCRAPE_SECONDS = 1.0
WINDOW_SECONDS = 10.0
PATIENCE = 20.0


@dataclass(frozen=True)
class Live:
    """That Prometheus, and what the dashboard shows of it now."""

    prometheus: Prometheus
    dashboard: Dashboard

    def source(self) -> Source:
        """The last seconds."""
        now = time.time()
        window = Window(now - WINDOW_SECONDS, now, SCRAPE_SECONDS)
        return Source(self.prometheus, self.dashboard, window, SCRAPE_SECONDS)

    def lines(self, panel: Panel, target: Target) -> list[Line]:
        """What one query of a panel gives."""
        return self.source().lines(replace(panel, targets=(target,)))

    def lacks(self, expressions: Iterable[str]) -> list[str]:
        """Those of some expressions that have no value now."""
        return [expression for expression in expressions if not self.prometheus.query(expression, time.time())]


@contextmanager
def run_live(data_dir: Path) -> Iterator[Live]:
    """Run all three until the block ends; it begins when everything has happened that is shown anywhere."""
    flags = ("--examples", "--set", f"batching.max_queue_rows={QUEUE_ROWS}")
    with (
        start_server(*flags, data_dir=data_dir) as server,
        run_prometheus(server.http.removeprefix("http://"), SCRAPE_SECONDS) as prometheus,
        traffic(server.target),
    ):
        running = Live(prometheus, Dashboard.read(DASHBOARD))
        seconds_until(lambda: not running.lacks(HAPPENED), PATIENCE)
        yield running
        assert "internal error" not in server.log()


HAPPENED = (
    *(
        f'gradserve_requests_total{{outcome="{outcome}"}} > 0'
        for outcome in ("ok", "invalid", "rejected", "deadline", "cancelled")
    ),
    'gradserve_requests_total{operation="gradient", outcome="ok"} > 0',
    'gradserve_rejected_total{reason="queue_full"} > 0',
    "gradserve_nonfinite_outputs_total > 0",
    'gradserve_state_operations_total{operation="save_checkpoint", result="ok"} > 0',
    "gradserve_model_version > 2",
)
