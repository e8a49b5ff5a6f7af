"""The Kubernetes manifests: as the API server reads them, and as they fit each other and the server."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

import gradserve
from gradserve_server.config import ServeOptions, load_config
from gradserve_server.config.schema import Config
from tests.deploy.engine import ROOT, docker
from tests.docs.test_tables import METRICS, rows
from tests.support.certificates import Authority
from tests.support.tokens import TokensFile
from tests.support.waiting import seconds_until

MANIFESTS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / "deploy" / "kubernetes").glob("*.yaml")}
BUILT_IN = sorted(MANIFESTS.keys() - {"podmonitor"})
PODMONITOR = Path(__file__).with_name("podmonitor")
POD = MANIFESTS["statefulset"]["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]
SECONDS = 120


@pytest.mark.parametrize("version", ["1.30", "1.37"])
@pytest.mark.parametrize("name", BUILT_IN)
def test_kubernetes_knows_every_field_and_its_type(name: str, version: str):
    assert kubernetes_validate.validate(MANIFESTS[name], version, strict=True) == version


def test_a_field_that_kubernetes_does_not_know_would_be_found():
    wrong = copy.deepcopy(MANIFESTS["statefulset"])
    wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
        kubernetes_validate.validate(wrong, "1.37", strict=True)


@pytest.fixture(scope="module")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which TypeScript knows the operator's types. Without Node.js: a failure in CI, a skip elsewhere."""
    npm = shutil.which("npm")
    if npm is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("npm is not installed")
    folder = tmp_path_factory.mktemp("podmonitor")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PODMONITOR / name, folder)
    subprocess.run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder, check=True)
    return folder


def compiled(monitor: dict[str, Any], folder: Path) -> str:
    """What TypeScript finds wrong with a PodMonitor. The types refuse unknown fields, as the operator's schema does."""
    package = "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor"
    source = f'import type {{ IPodMonitor }} from "{package}";\n'
    (folder / "monitor.ts").write_text(f"{source}export const monitor: IPodMonitor = {json.dumps(monitor)};\n")
    command = [folder / "node_modules/.bin/tsc", "--noEmit", "--strict", "--module", "nodenext", "--skipLibCheck"]
    return subprocess.run([*command, "monitor.ts"], cwd=folder, capture_output=True, text=True, check=False).stdout


@pytest.mark.slow
def test_the_prometheus_operator_knows_every_field_of_the_pod_monitor(compiler: Path):
    assert compiled(MANIFESTS["podmonitor"], compiler) == ""
    wrong = copy.deepcopy(MANIFESTS["podmonitor"])
    wrong["spec"]["podMetricsEndpoints"][0]["prot"] = "metrics"
    assert "'\"prot\"' does not exist in type 'IPodMetricsEndpoint'" in compiled(wrong, compiler)


def test_the_selectors_the_names_and_the_ports_fit_each_other():
    labels, ports = POD["metadata"]["labels"], {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    replicas, service = MANIFESTS["statefulset"], MANIFESTS["service"]
    assert replicas["spec"]["selector"]["matchLabels"] == labels
    assert MANIFESTS["podmonitor"]["spec"]["selector"]["matchLabels"] == labels
    assert service["spec"]["selector"] == labels
    assert service["metadata"]["name"] == replicas["spec"]["serviceName"]
    assert [port["targetPort"] for port in service["spec"]["ports"]] == ["grpc"]
    assert [endpoint["port"] for endpoint in MANIFESTS["podmonitor"]["spec"]["podMetricsEndpoints"]] == ["metrics"]
    assert ports == {"grpc": 50051, "metrics": 9464}
    target = MANIFESTS["autoscaler"]["spec"]["scaleTargetRef"]
    assert target == {key: replicas[key] for key in ("apiVersion", "kind")} | {"name": replicas["metadata"]["name"]}


def test_the_callers_spread_their_calls_because_the_service_is_headless():
    assert MANIFESTS["service"]["spec"]["clusterIP"] == "None"


def test_the_autoscaler_goes_by_a_metric_that_the_server_has():
    (metric,) = MANIFESTS["autoscaler"]["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] in {name for name, kind, *_ in rows("docs/metrics.md", METRICS)}
    assert int(metric["pods"]["target"]["averageValue"]) == 2 * Config().batching.max_batch_rows


def test_a_pod_is_as_restricted_as_the_strictest_of_the_pod_security_standards():
    pod, container = POD["spec"]["securityContext"], CONTAINER["securityContext"]
    assert (pod["runAsNonRoot"], pod["runAsUser"]) == (True, 10001)
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert (container["allowPrivilegeEscalation"], container["readOnlyRootFilesystem"]) == (False, True)
    assert POD["spec"]["automountServiceAccountToken"] is False


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """The configuration of the manifests, in a file."""
    file = tmp_path / "server.toml"
    file.write_text(MANIFESTS["configmap"]["data"]["server.toml"])
    return file


def test_a_pod_has_time_for_the_whole_drain(config_file: Path):
    server = load_config(ServeOptions(config=config_file), {}).server
    # When the calls have ended, what is still being computed gets 2 s.
    assert POD["spec"]["terminationGracePeriodSeconds"] > server.drain_delay + server.drain_grace + 5


def test_every_path_of_the_configuration_lies_in_a_volume(config_file: Path):
    config = load_config(ServeOptions(config=config_file), {})
    server, mounts = config.server, [mount["mountPath"] for mount in CONTAINER["volumeMounts"]]
    paths = [server.tls_certificate, server.tls_key, server.tokens_file, config.store.data_dir]
    assert [any(path.startswith(f"{mount}/") for mount in mounts) for path in paths] == [True] * 4
    assert "/etc/gradserve/server.toml" in mounts


@pytest.fixture
def pod(image: str, config_file: Path, tmp_path: Path) -> Iterator[tuple[str, Authority, str]]:
    """The container as the pod has it, with secrets of the test's own; its name, the authority, and a token."""
    authority, tokens = Authority.make(tmp_path / "authority"), TokensFile(tmp_path / "tokens.toml")
    issued, token = authority.server(), tokens.add("sampler", ["forward"])
    files = {
        config_file: "server.toml",
        issued.certificate: "tls/tls.crt",
        issued.key: "tls/tls.key",
        authority.ca: "tls/ca.crt",
        tokens.path: "tokens/tokens.toml",
    }
    for file in files:
        # The container's user has another id than the one of the test.
        file.chmod(0o444)
    volumes = [word for file, name in files.items() for word in ("--volume", f"{file}:/etc/gradserve/{name}:ro")]
    env = [word for item in CONTAINER["env"] for word in ("--env", f"{item['name']}={item['value']}")]
    confined = ["--read-only", "--cap-drop", "ALL", "--publish", "127.0.0.1:0:50051"]
    name = docker("run", "--detach", *confined, *volumes, *env, image)
    yield name, authority, token
    docker("rm", "--force", "--volumes", name)


@pytest.mark.slow
def test_with_the_configuration_and_secrets_of_a_pod_the_probes_succeed_and_tokens_are_asked_for(
    pod: tuple[str, Authority, str],
):
    name, authority, token = pod
    seconds_until(lambda: "listening on" in docker("logs", name), SECONDS)
    for probe in ("startupProbe", "readinessProbe"):
        assert docker("exec", name, *CONTAINER[probe]["exec"]["command"]) == "SERVING"
    healthz = f"http://127.0.0.1:9464{CONTAINER['livenessProbe']['httpGet']['path']}"
    assert docker("exec", name, "python", "-c", f"from urllib.request import *; print(urlopen('{healthz}').status)")
    target = docker("port", name, "50051")
    with gradserve.Client(target, tls_ca=authority.ca, token=token) as client:
        assert client.model("logistic-regression")([[0.0]]).tolist() == [[0.5]]
    with gradserve.Client(target, tls_ca=authority.ca) as client, pytest.raises(gradserve.UnauthenticatedError):
        client.model("logistic-regression").forward([[0.0]])
