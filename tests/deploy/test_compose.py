"""The services of the compose file, as their users meet them."""

from __future__ import annotations

import json
import threading
import tomllib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import pytest
import torch
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc
from torch import nn

import gradserve
from gradserve import codec
from gradserve.v1 import inference_pb2, inference_pb2_grpc
from gradserve_server.config.schema import Config
from tests.deploy.engine import ROOT, Compose, config
from tests.support.metrics import page
from tests.support.waiting import seconds_until

SERVER_TOML = ROOT / "deploy" / "server.toml"
RULES = ROOT / "deploy" / "prometheus" / "rules"
SECONDS = 120
CALLERS = 4

pytestmark = pytest.mark.slow


@pytest.fixture
def target(compose: Compose) -> str:
    """Where the server is published."""
    return compose.address("server", 50051)


def mlp(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(50, 30), nn.ReLU(), nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 3))


def test_the_gradients_of_logistic_regression_are_those_of_the_reference(target: str):
    with gradserve.Client(target) as client:
        g = client.model("logistic-regression").gradient([[1.1]], [[1.0]], loss="binary_cross_entropy")
    assert g["layers.0.weight"].item() == pytest.approx(-0.0898, abs=5e-5)
    assert g["layers.0.bias"].item() == pytest.approx(-0.0817, abs=5e-5)


def test_the_outputs_of_the_bundled_mlp_are_torchs(target: str):
    x = torch.linspace(-1, 1, 4 * 50).reshape(4, 50)
    with gradserve.Client(target) as client:
        torch.testing.assert_close(client.model("mlp-50-30-20-3")(x), mlp(0)(x).detach())


def test_what_a_caller_made_and_pushed_is_there_after_a_restart_and_in_a_new_container(compose: Compose, target: str):
    state = {f"layers.{name}": value.numpy() for name, value in mlp(7).state_dict().items()}
    with gradserve.Client(target) as client:
        model = client.create_model("kept", gradserve.MLP(50, [30, 20], 3))
        version = model.load_state_dict(state).version
    compose("restart", "server")
    compose("rm", "--stop", "--force", "server")
    compose.up()
    with gradserve.Client(compose.address("server", 50051)) as client:
        kept = client.model("kept").state_dict()
        client.delete_model("kept")
    assert kept.version == version
    assert all(np.array_equal(kept[name], value) for name, value in state.items())


def test_prometheus_scrapes_the_server_and_has_loaded_every_rule(compose: Compose):
    http = f"http://{compose.address('prometheus', 9090)}/api/v1"

    def told(path: str) -> dict[str, list[dict[str, Any]]]:
        return json.loads(page(http, path)[0])["data"]

    def bundled_models_ready() -> bool:
        ready = told("/query?query=sum(gradserve_model_ready)")["result"]
        return [sample["value"][1] for sample in ready] == ["3"]

    seconds_until(bundled_models_ready, SECONDS)
    assert [target["health"] for target in told("/targets")["activeTargets"]] == ["up"]
    groups = [group for file in RULES.glob("*.yml") for group in yaml.safe_load(file.read_text())["groups"]]
    assert sorted(group["name"] for group in told("/rules")["groups"]) == sorted(group["name"] for group in groups)


@dataclass(frozen=True)
class Stopped:
    """A stop under load: what health said, what became of the callers, and of the container."""

    told: list[int]
    callers: list[Future[int]]
    state: dict[str, Any]


def call_until(stop: threading.Event, started: threading.Barrier, target: str) -> int:
    """Call, one call after the other and each once, until told to stop; give how many were answered."""
    request = inference_pb2.ForwardRequest(model="digits", input=codec.encode(np.zeros((8, 64), np.float32)))
    with grpc.insecure_channel(target, [("grpc.enable_retries", 0)]) as channel:
        forward = inference_pb2_grpc.InferenceServiceStub(channel).Forward
        forward(request, timeout=SECONDS)
        started.wait(SECONDS)
        calls = 1
        while not stop.is_set():
            forward(request, timeout=SECONDS)
            calls += 1
        return calls


@pytest.fixture
def stopped(compose: Compose, target: str) -> Iterator[Stopped]:
    """Callers of a server that is stopped by `docker compose stop`, until they have seen its health turn."""
    stop, started = threading.Event(), threading.Barrier(CALLERS + 1)
    with grpc.insecure_channel(target) as channel, ThreadPoolExecutor(CALLERS + 1) as threads:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        told = [next(watch).status]
        callers = [threads.submit(call_until, stop, started, target) for _ in range(CALLERS)]
        started.wait(SECONDS)
        stopping = threads.submit(compose, "stop", "server")
        told.append(next(watch).status)
        stop.set()
        stopping.result()
    yield Stopped(told, callers, compose.container("server")["State"])
    compose.up()


def test_a_stop_under_load_fails_no_call_of_callers_that_heed_health(stopped: Stopped):
    """Also those do not fail that begin after health has turned, and before its callers have noticed."""
    assert stopped.told == [health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING]
    assert min(caller.result() for caller in stopped.callers) > 1
    assert (stopped.state["ExitCode"], stopped.state["OOMKilled"]) == (0, False)


def test_no_service_can_do_more_than_it_needs(compose: Compose):
    for service in ("server", "prometheus"):
        container = compose.container(service)
        host = container["HostConfig"]
        assert container["Config"]["User"].partition(":")[0] not in {"", "0", "root"}
        assert (host["ReadonlyRootfs"], host["Privileged"], host["CapDrop"]) == (True, False, ["ALL"])
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert min(host["Memory"], host["NanoCpus"], host["PidsLimit"]) > 0


def test_no_process_of_the_server_is_root_or_has_a_capability(compose: Compose):
    statuses = compose("exec", "server", "sh", "-c", "cat /proc/[0-9]*/status")
    lines = [line.split() for line in statuses.splitlines()]
    assert {word for name, *words in lines if name in {"Uid:", "Gid:"} for word in words} == {"10001"}
    assert {word for name, *words in lines if name in {"CapEff:", "CapBnd:"} for word in words} == {"0" * 16}


@pytest.mark.usefixtures("engine")
def test_every_service_is_confined_and_published_on_this_machine_alone():
    services = config("docker-compose.yml")
    for service in services.values():
        assert service["read_only"]
        assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"])
        assert {"cpus", "mem_limit", "pids_limit"} <= service.keys()
        assert {port["host_ip"] for port in service["ports"]} == {"127.0.0.1"}
    published = {name: [port["published"] for port in service["ports"]] for name, service in services.items()}
    assert published == {"server": ["50051", "9464"], "prometheus": ["9090"], "grafana": ["3000"]}


@pytest.mark.usefixtures("engine")
def test_a_stop_has_time_for_the_whole_drain():
    assert not {"drain_delay", "drain_grace"} & tomllib.loads(SERVER_TOML.read_text())["server"].keys()
    seconds = int(config("docker-compose.yml")["server"]["stop_grace_period"].removesuffix("s"))
    # When the calls have ended, what is still being computed gets 2 s.
    assert seconds > Config().server.drain_delay + Config().server.drain_grace + 5


@pytest.mark.usefixtures("engine")
def test_the_file_for_a_gpu_reserves_one_and_takes_torchs_build_for_cuda():
    server = config("docker-compose.yml", "docker-compose.gpu.yml")["server"]
    (device,) = server["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["count"], device["capabilities"]) == ("nvidia", 1, ["gpu"])
    assert "/whl/cu" in server["build"]["args"]["TORCH_INDEX_URL"]
