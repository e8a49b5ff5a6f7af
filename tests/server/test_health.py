"""grpc.health.v1, reflection, start and stop of a real server."""

import signal
import subprocess
import sys

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

import gradserve
from gradserve import codec
from gradserve.v1 import inference_pb2, inference_pb2_grpc
from tests.support.server import RunningServer, start_server

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
TIMEOUT = 20


def health(channel: grpc.Channel) -> health_pb2_grpc.HealthStub:
    return health_pb2_grpc.HealthStub(channel)


@pytest.mark.parametrize("service", ["", "digits", "logistic-regression", "mlp-50-30-20-3"])
def test_the_server_and_each_model_have_a_health_of_their_own(target, service):
    with grpc.insecure_channel(target) as channel:
        reply = health(channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT)
    assert reply.status == SERVING


@pytest.mark.parametrize("service", ["nobody", "../x", "gradserve.v1.InferenceService"])
def test_the_health_of_what_is_no_model_is_not_found(target, service):
    with grpc.insecure_channel(target) as channel, pytest.raises(grpc.RpcError) as caught:
        health(channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_list_tells_the_health_of_all(target, client):
    with grpc.insecure_channel(target) as channel:
        statuses = health(channel).List(health_pb2.HealthListRequest(), timeout=TIMEOUT).statuses
    assert {name: reply.status for name, reply in statuses.items()}.items() >= {"": SERVING, "digits": SERVING}.items()


def test_a_watcher_sees_a_model_come_and_go(target, client):
    with grpc.insecure_channel(target) as channel:
        request = health_pb2.HealthCheckRequest(service="passing-by")
        watch = health(channel).Watch(request, timeout=TIMEOUT)
        seen = [next(watch).status]
        client.create_model("passing-by", gradserve.MLP(2, [], 1))
        seen.append(next(watch).status)
        client.delete_model("passing-by")
        seen.append(next(watch).status)
        watch.cancel()
    assert seen == [SERVICE_UNKNOWN, SERVING, SERVICE_UNKNOWN]


def forward(channel: grpc.Channel, model: str, values: list[float]) -> inference_pb2.ForwardResponse:
    request = inference_pb2.ForwardRequest(model=model, input=codec.encode(np.array(values, np.float32)))
    return inference_pb2_grpc.InferenceServiceStub(channel).Forward(request, timeout=TIMEOUT)


def services(target: str) -> set[str]:
    with grpc.insecure_channel(target) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        reply = next(stub.ServerReflectionInfo(iter([ask]), timeout=TIMEOUT))
        return {service.name for service in reply.list_services_response.service}


def test_reflection_tells_the_services(target):
    assert services(target) >= {
        "gradserve.v1.InferenceService",
        "gradserve.v1.ModelService",
        "grpc.health.v1.Health",
        "inference.GRPCInferenceService",
    }


def test_reflection_can_be_switched_off():
    with start_server("--set", "server.reflection=false") as server, pytest.raises(grpc.RpcError) as caught:
        services(server.target)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.fixture
def own_server():
    with start_server("--examples") as running:
        yield running


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_turns_health_first_then_ends_the_server_in_good_order(own_server: RunningServer, signum):
    with grpc.insecure_channel(own_server.target) as channel:
        watch = health(channel).Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT)
        assert next(watch).status == SERVING
        own_server.process.send_signal(signum)
        assert next(watch).status == NOT_SERVING
        assert codec.decode(forward(channel, "logistic-regression", [0.0]).output) == 0.5
        assert list(watch) == []
    assert own_server.process.wait(TIMEOUT) == 0


def test_the_start_line_tells_the_address_and_the_models(server):
    first, second = server.log().splitlines()[:2]
    assert first == (
        f"gradserve {gradserve.__version__} listening on {server.target}, serving 3 models: "
        "digits (cpu), logistic-regression (cpu), mlp-50-30-20-3 (cpu)"
    )
    assert second.startswith("nothing is kept on disk")


def serve(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gradserve", "serve", "--ephemeral", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_second_server_on_the_same_port_does_not_start(target):
    outcome = serve("--listen", target)
    assert (outcome.returncode, outcome.stdout) == (1, "")
    assert f"cannot listen on {target}" in outcome.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["models.a.in_features=0", "models.a.out_features=1"], "models.a.in_features"),
        (["models.a.layers=[{type='Lineal'}]"], "'Lineal' is not a layer type"),
        (["models.a.layers=[{in_features=3}]"], "needs a type"),
        (
            ["models.a.in_features=3", "models.a.out_features=1", "models.a.device=cuda:7777"],
            "this host has no cuda:7777",
        ),
        (["models.a.in_features=100000", "models.a.out_features=100000"], "268435456 parameters"),
    ],
)
def test_a_model_that_cannot_be_served_ends_the_start_with_one_line(settings, says):
    outcome = serve("--listen", "127.0.0.1:0", *(word for setting in settings for word in ("--set", setting)))
    assert outcome.returncode == 2
    assert says in outcome.stderr
    assert len(outcome.stderr.splitlines()) == 1


def test_until_every_model_is_warm_health_is_not_serving_and_calls_are_refused(tmp_path):
    """The models are so many that calls arrive while they are built."""
    config = tmp_path / "server.toml"
    models = (f"[models.m{i}]\nin_features=800\nhidden_features=[800,800]\nout_features=9\n" for i in range(60))
    config.write_text("".join(models))
    target = f"unix:{tmp_path}/socket"
    command = [sys.executable, "-m", "gradserve", "serve", "--ephemeral", "--listen", target, "--config", str(config)]
    options = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 100)]
    with (
        subprocess.Popen(command, stdout=subprocess.DEVNULL) as process,
        grpc.insecure_channel(target, options) as channel,
    ):
        watch = health(channel).Watch(health_pb2.HealthCheckRequest(), timeout=60, wait_for_ready=True)
        assert next(watch).status == NOT_SERVING
        with pytest.raises(grpc.RpcError) as caught:
            forward(channel, "m0", [0.0] * 800)
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.UNAVAILABLE, "the server is starting")
        assert next(watch).status == SERVING
        assert forward(channel, "m0", [0.0] * 800).version == 1
        process.terminate()


def test_a_server_whose_output_nobody_reads_any_more_still_drains(tmp_path):
    target = f"unix:{tmp_path}/socket"
    command = [sys.executable, "-m", "gradserve", "serve", "--ephemeral", "--examples", "--listen", target]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"gradserve")
        process.stdout.close()
        with grpc.insecure_channel(target) as channel:
            watch = health(channel).Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT)
            assert next(watch).status == SERVING
            process.terminate()
            assert next(watch).status == NOT_SERVING
            assert codec.decode(forward(channel, "logistic-regression", [0.0]).output) == 0.5
        assert process.wait(TIMEOUT) == 0


def test_a_socket_on_which_a_server_answers_is_not_taken_from_it(tmp_path):
    target = f"unix:{tmp_path}/socket"
    with start_server("--set", f"server.listen={target}", "--listen", target):
        second = serve("--ephemeral", "--listen", target)
    assert (second.returncode, len(second.stderr.splitlines())) == (1, 1)
    assert "another server is there" in second.stderr


def test_garbage_sent_to_reflection_is_refused_like_any_other(target):
    with grpc.insecure_channel(target) as channel:
        path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
        call = channel.stream_stream(path, request_serializer=None, response_deserializer=None)
        with pytest.raises(grpc.RpcError) as caught:
            next(call(iter([b"\xff\xff"]), timeout=TIMEOUT))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
