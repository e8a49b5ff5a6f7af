"""Draws the dashboard out of a running Prometheus.

python -m deploy.grafana.render --prometheus http://localhost:9090 --last 15m --output dashboard.png
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deploy.grafana.render.dashboard import GRADSERVE, Dashboard
from deploy.grafana.render.durations import seconds_of
from deploy.grafana.render.picture import draw_last
from deploy.grafana.render.prometheus import Prometheus


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m deploy.grafana.render", description="Draws a dashboard as a PNG.")
    parser.add_argument("--prometheus", default="http://localhost:9090", help="where Prometheus answers (%(default)s)")
    parser.add_argument("--last", type=seconds_of, default="15m", help="how much time to show, until now (%(default)s)")
    parser.add_argument("--dashboard", type=Path, default=GRADSERVE, help="Grafana's JSON (Gradserve's own)")
    parser.add_argument("--output", type=Path, required=True, help="the PNG to write")
    chosen = parser.parse_args()
    picture = draw_last(chosen.last, Prometheus(chosen.prometheus), Dashboard.read(chosen.dashboard))
    picture.save(chosen.output)
    for title in picture.empty:
        print(f"nothing to show: {title}", file=sys.stderr)


if __name__ == "__main__":
    main()
