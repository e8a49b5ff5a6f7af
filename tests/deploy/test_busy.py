"""The dashboard and the rules on a real Prometheus, of a real server to which all has happened that they tell."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from deploy.grafana.render.dashboard import GRADSERVE, Dashboard
from deploy.grafana.render.picture import draw_last, size_of
from tests.deploy.busy import PATIENCE, WINDOW_SECONDS, Busy, run_busy
from tests.deploy.prometheus.rules import ROOT, alerts, rules
from tests.support.waiting import seconds_until

BOARD = Dashboard.read(GRADSERVE)
QUERIES = [(panel, target) for panel in BOARD.panels for target in panel.targets]
QUERY_IDS = [f"{panel.title}-{target.legend}" for panel, target in QUERIES]
RECORDED = [rule["record"] for rule in rules() if "record" in rule]
SELECTOR = re.compile(r"\b(?:gradserve_|grpc_server_|job_model:|job_instance_model:|up\b)[\w:]*(?:\{[^}]*\})?")
LOOKED_AT = sorted({selector for alert in alerts().values() for selector in SELECTOR.findall(alert["expr"])})


@pytest.fixture(scope="module")
def busy(prometheus_program: str) -> Iterator[Busy]:
    """That server and that Prometheus, for these tests alone: nobody else should have to share the processor."""
    with run_busy() as running:
        yield running


@pytest.mark.parametrize(("panel", "target"), QUERIES, ids=QUERY_IDS)
def test_a_query_of_the_dashboard_gives_data(busy: Busy, panel, target):
    seconds_until(lambda: bool(busy.lines(panel, target)), PATIENCE)
    lines = busy.lines(panel, target)
    assert len({line.name for line in lines}) == len(lines), "no two series have one name"


def test_the_dashboard_marks_when_an_alert_began(busy: Busy):
    seconds_until(lambda: bool(busy.source().marks()), PATIENCE)


def test_the_picture_shows_every_panel(busy: Busy):
    picture = draw_last(WINDOW_SECONDS, busy.prometheus, BOARD)
    assert picture.empty == ()
    axes = {axes.get_label(): axes for axes in picture.figure.axes}
    drawn = {panel.title for panel in BOARD.panels if panel.kind in {"timeseries", "heatmap"}}
    assert drawn == {title for title in drawn if axes[title].has_data()}


def test_the_command_writes_a_png_of_the_whole_board(busy: Busy, tmp_path: Path):
    file = tmp_path / "picture.png"
    options = ["--prometheus", busy.prometheus.url, "--last", f"{WINDOW_SECONDS:.0f}s", "--output", file]
    command = [sys.executable, "-m", "deploy.grafana.render", *options]
    drawn = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (drawn.returncode, drawn.stdout + drawn.stderr) == (0, "")
    with Image.open(file) as image:
        assert (image.format, image.size) == ("PNG", size_of(BOARD.panels))


def test_prometheus_evaluates_every_rule(busy: Busy):
    def evaluated() -> list[tuple[str, str]]:
        groups = busy.prometheus.get("rules")["groups"]
        return sorted((rule["name"], rule["health"]) for group in groups for rule in group["rules"])

    names = [rule.get("record") or rule["alert"] for rule in rules()]
    seconds_until(lambda: evaluated() == sorted((name, "ok") for name in names), PATIENCE)


@pytest.mark.parametrize("name", RECORDED)
def test_a_recording_rule_gives_data(busy: Busy, name: str):
    seconds_until(lambda: not busy.lacks([name]), PATIENCE)


@pytest.mark.parametrize("selector", LOOKED_AT)
def test_what_an_alert_looks_at_is_there(busy: Busy, selector: str):
    """A metric or a label that is spelt wrongly would let an alert sleep for ever."""
    seconds_until(lambda: not busy.lacks([selector]), PATIENCE)


def test_the_alert_of_replies_that_are_not_finite_fires(busy: Busy):
    """The server of this test gives such replies."""
    fires = 'ALERTS{alertname="GradserveNonFiniteOutputs", alertstate="firing", model="surrogate", operation="forward"}'
    seconds_until(lambda: not busy.lacks([fires]), PATIENCE)
