"""The rules that Prometheus is given: valid, and each alert fires when it must and no sooner."""

import subprocess

import pytest

from tests.deploy.prometheus.rules import CONFIGURATION, EXPECTATIONS, alerts, expectations, rules
from tests.support.metrics import page
from tests.support.server import RunningServer


def check(*command: object, standard_input: str = "") -> None:
    checked = subprocess.run(command, input=standard_input, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert not checked.stderr


def test_promtool_finds_nothing_wrong_with_the_configuration(promtool: str):
    check(promtool, "check", "config", "--lint=all", "--lint-fatal", CONFIGURATION / "prometheus.yml")


def test_promtool_finds_nothing_wrong_with_the_metrics_of_a_server(promtool: str, server: RunningServer):
    check(promtool, "check", "metrics", standard_input=page(server.http)[0])


@pytest.mark.parametrize("file", EXPECTATIONS, ids=lambda file: file.stem)
def test_alerts_fire_when_they_must_and_no_sooner(promtool: str, file):
    check(promtool, "test", "rules", file)


def test_every_alert_is_seen_to_fire_and_seen_not_to():
    assert set(expectations()) == {(name, fires) for name in alerts() for fires in (True, False)}


def test_no_two_alerts_have_one_name():
    assert len(alerts()) == sum("alert" in rule for rule in rules())


@pytest.mark.parametrize("name", alerts())
def test_an_alert_tells_how_severe_it_is_what_it_is_and_what_to_do(name: str):
    rule = alerts()[name]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/alerts.md#{name.lower()}"
