"""The tables of the documentation say what the code says: nothing is missing, and nothing is made up."""

import dataclasses
import json
import re
import tomllib
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import grpc
import pytest

import gradserve
from gradserve.v1 import inference_pb2, model_pb2, state_pb2
from gradserve_server.bundled import BUNDLED
from gradserve_server.config import TokenConfig
from gradserve_server.config.schema import Config, ModelConfig
from gradserve_server.engine.losses.kinds import LOSSES, Target
from gradserve_server.engine.network.layers import LAYERS
from gradserve_server.facts import Outcome, QueueState, ReleaseReason, RequestFact, RpcMethod, outcome_of
from gradserve_server.metrics import Metrics
from gradserve_server.metrics.readings import ModelReading, Reading
from gradserve_server.security.rules import RULES, Rule
from gradserve_server.status import CODES
from tests.deploy.prometheus.rules import alerts
from tests.docs.snippets import DOCUMENTS, ROOT
from tests.support.metrics import page
from tests.support.server import RunningServer

SERVER = ROOT / "server" / "gradserve_server"

TARGETS = {
    Target.NONE: "none",
    Target.VALUES: "values",
    Target.CLASS: "class ids",
    Target.CLASS_OR_PROBABILITIES: "class ids or probabilities",
    Target.CLASSES: "class ids, then -1",
}


def rows(file: str, header: str) -> list[list[str]]:
    """The cells of every table of a file with that header, without the backquotes."""
    found = []
    lines = iter(Path(ROOT, file).read_text().splitlines())
    for line in lines:
        if line == header:
            next(lines)
            found += list(_cells(lines))
    assert found, f"{file} has no table {header}"
    return found


def _cells(lines: Iterator[str]) -> Iterator[list[str]]:
    for line in lines:
        if not line.startswith("|"):
            return
        yield [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]


def listed(cell: str) -> list[str]:
    """What a cell lists, separated by commas."""
    return cell.split(", ") if cell else []


def test_every_layer_type_is_there_with_its_arguments(client: gradserve.Client):
    table = {kind: listed(arguments) for kind, arguments in rows("docs/models.md", "| type | arguments |")}
    assert sorted(table) == list(client.server_info().layer_types)
    assert table == {name: list(kind.arguments) for name, kind in LAYERS.items()}


def test_every_loss_is_there_with_its_target_arguments_and_reductions(client: gradserve.Client):
    table = rows("docs/wire.md", "| loss | target | arguments | reductions |")
    assert [row[0] for row in table] == list(client.server_info().losses)
    assert {name: (target, listed(arguments), listed(reductions)) for name, target, arguments, reductions in table} == {
        name: (TARGETS[loss.target], list(loss.arguments), list(loss.reductions)) for name, loss in LOSSES.items()
    }


def test_every_setting_is_there_with_its_default():
    table = {key: _parsed(default) for key, default, _ in rows("docs/configuration.md", "| key | default | |")}
    sections = dataclasses.asdict(Config(models={}))
    sections.pop("models")
    settings = {f"{section}.{name}": value for section, values in sections.items() for name, value in values.items()}
    of_a_model = dataclasses.asdict(ModelConfig(in_features=1, out_features=1))
    assert table == settings | of_a_model | {"in_features": None, "out_features": None}


def _parsed(default: str) -> object:
    value = tomllib.loads(f"value = {default}")["value"] if default else None
    return tuple(value) if isinstance(value, list) else value


def test_every_bundled_model_is_there():
    assert sorted(row[0] for row in rows("docs/models.md", "| name | what it is | weights |")) == list(BUNDLED)


def test_every_status_of_a_refusal_is_there():
    table = {row[0] for row in rows("docs/wire.md", "| status | when |")}
    assert table == {code.name for code in CODES.values()} | {"INTERNAL"}


def test_every_reason_of_a_refusal_is_there():
    source = "\n".join(path.read_text() for path in SERVER.rglob("*.py"))
    reasons = {match[1] for match in re.finditer(r'reason(?: =|=)\s*"([A-Z_]+)"', source)}
    table = [row[0] for row in rows("docs/wire.md", "| reason | what it tells |")]
    # What ServiceError itself would be called: no refusal is of that class.
    assert set(table) == reasons - {"UNKNOWN"}
    assert table == sorted(table)


def test_every_call_of_the_contract_is_there():
    contract = {
        (service.full_name, method.name)
        for file in (inference_pb2.DESCRIPTOR, model_pb2.DESCRIPTOR, state_pb2.DESCRIPTOR)
        for service in file.services_by_name.values()
        for method in service.methods
    }
    assert {call for call in _calls() if call[0].startswith("gradserve.")} == contract


def _calls() -> Iterator[tuple[str, str]]:
    service = ""
    for name, call, _ in rows("docs/wire.md", "| service | call | does |"):
        service = name or service
        yield service, call


def test_every_call_is_there_with_what_it_needs():
    table = rows("docs/security.md", "| call | right | model |")
    assert table == [[".".join(method.rsplit(".", 2)[1:]), _need(rule), rule.model] for method, rule in RULES.items()]


def _need(rule: Rule) -> str:
    by_name = f", or {rule.gradient} for NAME.gradient" if rule.gradient else ""
    return f"{rule.right}{by_name}" if rule.right else ("any token" if rule.token else "no token")


def test_every_value_of_a_token_is_there_with_its_default():
    table = {name: default for name, default, _ in rows("docs/security.md", "| value | default | |")}
    assert table == {
        option.name: "required" if option.default is dataclasses.MISSING else json.dumps(option.default)
        for option in dataclasses.fields(TokenConfig)
    }


METRICS = "| metric | type | labels | |"


def test_every_metric_is_there_with_its_type_and_labels():
    table = {name: (kind, listed(labels)) for name, kind, labels, _ in rows("docs/metrics.md", METRICS)}
    assert table == {name: told for name, told in _metrics() if name.startswith(("grpc_", "gradserve_"))}


def _metrics() -> Iterator[tuple[str, tuple[str, list[str]]]]:
    """Every family of a server that has had something of each kind to count."""
    metrics = Metrics()
    metrics.model_created("a")
    metrics.rpc_served(RpcMethod("unary", "gradserve.v1.StateService", "SaveCheckpoint"))
    metrics.request_started("forward")
    metrics.request_finished(RequestFact("a", "forward", "rejected", 0.1, reason="QUEUE_FULL"))
    model = ModelReading("a", "cpu", "float32", True, 1, 1, 1, 1.0, 1, QueueState(1, 1, 1))
    for family in metrics.snapshot(Reading((model,), ("b",), {"cpu": {"total": 1}})).collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        yield name, (family.type, [label for label in family.samples[0].labels if label != "le"])


def test_every_outcome_of_a_request_is_there_with_its_statuses():
    table = {outcome: set(listed(codes)) for outcome, codes, _ in rows("docs/metrics.md", "| outcome | status | |")}
    assert table == {
        outcome: {code.name for code in grpc.StatusCode if outcome_of(code.name) == outcome}
        for outcome in get_args(Outcome)
    }


def test_every_reason_to_release_a_batch_is_there():
    table = [row[0] for row in rows("docs/metrics.md", "| reason | why a batch was computed when it was |")]
    assert table == list(get_args(ReleaseReason))


def test_every_alert_is_there_with_its_severity_and_a_section():
    table = {alert: severity for alert, severity, _ in rows("docs/alerts.md", "| alert | severity | fires when |")}
    assert table == {f"[{name}](#{name.lower()})": alert["labels"]["severity"] for name, alert in alerts().items()}
    titles = re.findall(r"^## (.*)$", (ROOT / "docs" / "alerts.md").read_text(), re.MULTILINE)
    assert titles == list(alerts())


def test_every_path_of_http_is_there(server: RunningServer):
    with pytest.raises(urllib.error.HTTPError) as caught:
        page(server.http, "/")
    with caught.value as refusal:
        paths = refusal.read().decode().split()
    assert [row[0] for row in rows("docs/metrics.md", "| path | answers |")] == paths


def test_the_start_line_is_the_one_that_a_server_prints(server: RunningServer):
    printed = server.log().splitlines()[0].replace(server.target, "127.0.0.1:50051")
    shown = re.sub(r"\((cuda:\d+|mps)\)", "(cpu)", printed)
    assert f"\n    {shown}\n" in (ROOT / "docs" / "configuration.md").read_text()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_within_the_repository_leads_somewhere(path: Path):
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", path.read_text()):
        file = path.parent / target if target else path
        assert file.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}, anchor
