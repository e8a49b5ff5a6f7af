"""The dashboard on a real Prometheus, of a real server to which everything has happened that it shows."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deploy.grafana.render.__main__ import DASHBOARD, render
from deploy.grafana.render.dashboard import Dashboard
from deploy.grafana.render.picture import size_of
from tests.deploy.live import PATIENCE, WINDOW_SECONDS, Live
from tests.support.waiting import seconds_until

BOARD = Dashboard.read(DASHBOARD)
QUERIES = [(panel, target) for panel in BOARD.panels for target in panel.targets]


@pytest.mark.parametrize(
    ("panel", "target"), QUERIES, ids=[f"{panel.title}-{target.legend}" for panel, target in QUERIES]
)
def test_a_query_gives_data(live: Live, panel, target):
    seconds_until(lambda: bool(live.lines(panel, target)), PATIENCE)
    lines = live.lines(panel, target)
    assert len({line.name for line in lines}) == len(lines), "no two series have one name"


def test_an_alert_that_fires_is_marked(live: Live):
    seconds_until(lambda: bool(live.source().marks()), PATIENCE)


def test_the_picture_shows_every_panel(live: Live, tmp_path: Path):
    picture = render(live.prometheus, WINDOW_SECONDS)
    assert picture.empty == ()
    axes = {axes.get_label(): axes for axes in picture.figure.axes}
    drawn = {panel.title for panel in BOARD.panels if panel.kind in {"timeseries", "heatmap"}}
    assert drawn == {title for title in drawn if axes[title].has_data()}
    picture.save(tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as image:
        assert (image.format, image.size) == ("PNG", size_of(BOARD.panels))
