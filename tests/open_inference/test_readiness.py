"""ServerLive, ServerReady and ModelReady from a server's start to its end."""

import socket
import subprocess

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gradserve_server.open_inference import grpc_service_pb2 as pb
from gradserve_server.open_inference.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from tests.integration.bad_input import reason_of
from tests.support.server import GRADSERVE, start_server

SECONDS = 60
OFTEN = [(f"grpc.{which}_reconnect_backoff_ms", 50) for which in ("initial", "min", "max")]
"""Options of a channel that does not wait long before it knocks again."""


def readiness(stub: GRPCInferenceServiceStub, model: str) -> tuple[bool, bool, bool]:
    """Whether the server is live and ready, and a model is ready; asked once somebody listens."""
    live = stub.ServerLive(pb.ServerLiveRequest(), wait_for_ready=True, timeout=SECONDS).live
    ready = stub.ServerReady(pb.ServerReadyRequest(), timeout=SECONDS).ready
    return live, ready, stub.ModelReady(pb.ModelReadyRequest(name=model), timeout=SECONDS).ready


def test_a_server_that_starts_is_live_and_not_ready_and_computes_nothing(tmp_path):
    """The models are so many that it is asked while they are built."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = tmp_path / "server.toml"
    models = (f"[models.m{i}]\nin_features=800\nhidden_features=[800,800]\nout_features=9\n" for i in range(60))
    config.write_text("".join(models))
    command = [*GRADSERVE, "serve", "--ephemeral", "--listen", address, "--config", config]
    with (
        subprocess.Popen(command, stdout=subprocess.DEVNULL) as process,
        grpc.insecure_channel(address, OFTEN) as channel,
    ):
        stub = GRPCInferenceServiceStub(channel)
        assert readiness(stub, "m0") == (True, False, False)
        for call, request in (
            (stub.ModelInfer, pb.ModelInferRequest(model_name="m0")),
            (stub.RepositoryIndex, pb.RepositoryIndexRequest()),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call(request, timeout=SECONDS)
            assert (caught.value.code(), reason_of(caught.value)) == (grpc.StatusCode.UNAVAILABLE, "STARTING")
        process.kill()


def test_a_server_that_stops_is_not_ready_before_its_models_are():
    with (
        start_server("--examples", "--set", "server.drain_delay=30") as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        stub = GRPCInferenceServiceStub(channel)
        assert readiness(stub, "digits") == (True, True, True)
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        server.process.terminate()
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert readiness(stub, "digits") == (True, False, True)
