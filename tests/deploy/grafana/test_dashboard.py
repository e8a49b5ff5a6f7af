"""Grafana's files: what it reads is valid, and says what a person needs."""

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as schema

from deploy.grafana.render.dashboard import GRADSERVE
from deploy.grafana.render.units import told

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
BOARD = json.loads(GRADSERVE.read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
GRAFANAS_OWN = {"__rate_interval", "__range", "datasource"}
# Fields of annotations that Prometheus's own plugin reads; the schema holds those of every plugin.
OF_PROMETHEUS = {"step", "titleFormat", "textFormat", "tagKeys"}


def test_every_field_is_one_that_grafana_knows():
    """What the schema does not know is lost when a dashboard is read and written by it."""
    plugins.register_default_plugins()
    understood = json.loads(JSONEncoder().encode(schema.Dashboard.from_json(BOARD)))
    lost = {path for path in _leaves(BOARD) if path not in set(_leaves(understood))}
    assert {path[-2] for path in lost} <= OF_PROMETHEUS


def _leaves(value: Any, *path: Any) -> Iterator[tuple[Any, ...]]:
    """Every value that is no list or object, behind the names that lead to it. Nothing stands for null."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(inner, *path, key)
    elif value is not None:
        yield *path, value


def test_no_two_panels_have_one_id_or_one_title():
    for field in ("id", "title"):
        assert len({panel[field] for panel in BOARD["panels"]}) == len(BOARD["panels"])


def test_panels_lie_within_the_grid_and_on_no_other():
    cells = list(itertools.chain.from_iterable(_cells(**panel["gridPos"]) for panel in BOARD["panels"]))
    assert len(cells) == len(set(cells))
    assert {x for x, _ in cells} == set(range(24))
    assert {y for _, y in cells} == set(range(max(y for _, y in cells) + 1)), "there is no row without panels"


def _cells(x: int, y: int, w: int, h: int) -> Iterator[tuple[int, int]]:
    return itertools.product(range(x, x + w), range(y, y + h))


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_tells_what_it_shows_and_in_which_unit(panel):
    assert panel["description"].endswith(".")
    assert told(1.5, panel["fieldConfig"]["defaults"]["unit"])
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert [target["refId"] for target in panel["targets"]] == list("ABC"[: len(panel["targets"])])


def test_every_variable_that_a_query_has_is_there_and_every_one_is_used():
    queries = [target["expr"] for panel in PANELS for target in panel["targets"]]
    used = set(re.findall(r"\$\{?(\w+)", " ".join([*queries, json.dumps(BOARD)])))
    assert used - {"__all"} == GRAFANAS_OWN | {variable["name"] for variable in BOARD["templating"]["list"]}


def test_the_data_source_has_the_interval_at_which_prometheus_scrapes():
    (source,) = _yaml("grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert source["type"] == "prometheus"
    assert source["jsonData"]["timeInterval"] == _yaml("prometheus/prometheus.yml")["global"]["scrape_interval"]


def test_dashboards_are_looked_for_where_their_folder_is_mounted():
    (provider,) = _yaml("grafana/provisioning/dashboards/gradserve.yml")["providers"]
    assert provider["type"] == "file"
    assert provider["options"] == {"path": "/var/lib/grafana/dashboards"}


def _yaml(path: str) -> Any:
    return yaml.safe_load((DEPLOY / path).read_text())
