"""A server under traffic of every kind, scraped by a Prometheus."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from deploy.grafana.render.dashboard import GRADSERVE, Dashboard, Panel, Target
from deploy.grafana.render.demo import busy_server
from deploy.grafana.render.lines import Line, Source
from deploy.grafana.render.prometheus import Prometheus, Window
from tests.support.waiting import seconds_until

SCRAPE_SECONDS = 1.0
WINDOW_SECONDS = 10.0
PATIENCE = 60.0

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
"""What must have happened before every query has something to find."""

BUG = 'grpc_server_handled_total{grpc_code=~"Internal|Unknown"} > 0'


@dataclass(frozen=True)
class Busy:
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
def run_busy() -> Iterator[Busy]:
    """Run both until the block ends; it begins when everything has happened that is shown anywhere."""
    with busy_server(SCRAPE_SECONDS) as prometheus:
        busy = Busy(prometheus, Dashboard.read(GRADSERVE))
        seconds_until(lambda: not busy.lacks(HAPPENED), PATIENCE)
        yield busy
        assert busy.lacks([BUG]), "no call was answered with an internal error"
