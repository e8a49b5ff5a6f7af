"""Draws the dashboard out of a running Prometheus.

python -m deploy.grafana.render --prometheus http://localhost:9090 --last 15m --output dashboard.png
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from deploy.grafana.render.dashboard import Dashboard
from deploy.grafana.render.durations import seconds_of
from deploy.grafana.render.lines import Source
from deploy.grafana.render.picture import Picture, draw
from deploy.grafana.render.prometheus import Prometheus, Window

DASHBOARD = Path(__file__).resolve().parents[1] / "dashboards" / "gradserve.json"

_POINTS = 240


def render(prometheus: Prometheus, last: float, dashboard: Path = DASHBOARD) -> Picture:
    """Draw the last seconds until now.

    Args:
        prometheus: Whose values to draw.
        last: So many seconds.
        dashboard: The file of Grafana's JSON.

    Raises:
        OSError: Prometheus cannot be reached, or refuses a query; or the file cannot be read.
    """
    interval = prometheus.scrape_interval()
    end = time.time()
    window = Window(end - last, end, max(interval, last / _POINTS))
    return draw(Source(prometheus, Dashboard.read(dashboard), window, interval))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m deploy.grafana.render", description="Draws a dashboard as a PNG.")
    parser.add_argument("--prometheus", default="http://localhost:9090", help="where Prometheus answers (%(default)s)")
    parser.add_argument("--last", type=seconds_of, default="15m", help="how much time to show, until now (%(default)s)")
    parser.add_argument("--dashboard", type=Path, default=DASHBOARD, help="Grafana's JSON (Gradserve's own)")
    parser.add_argument("--output", type=Path, required=True, help="the PNG to write")
    chosen = parser.parse_args()
    picture = render(Prometheus(chosen.prometheus), chosen.last, chosen.dashboard)
    picture.save(chosen.output)
    for title in picture.empty:
        print(f"nothing to show: {title}", file=sys.stderr)


if __name__ == "__main__":
    main()
