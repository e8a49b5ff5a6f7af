"""The client: its options, its calls' life, and what it does when a server is away, slow or full."""

import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1.health_pb2 import HealthCheckResponse

import gradserve
from gradserve import codec
from gradserve.v1 import inference_pb2, model_pb2
from tests.client.scripted_server import Refusal, scripted_server
from tests.support.either_client import either_client

pytestmark = either_client

IDENTITY = gradserve.Sequential([gradserve.Layer("Identity")])
NOWHERE = "127.0.0.1:1"
READ = "GetServerInfo"
OK = model_pb2.GetServerInfoResponse(version="1.2.3")
DELETED = model_pb2.DeleteModelResponse(version=7)
DOWN = Refusal(grpc.StatusCode.UNAVAILABLE)


def full(pushback: str) -> Refusal:
    return Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, trailers=(("grpc-retry-pushback-ms", pushback),))


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without any of the client's variables."""
    for name in ("TARGET", "TOKEN", "TLS_CA", "TLS_CERTIFICATE", "TLS_KEY", "TIMEOUT"):
        monkeypatch.delenv(f"GRADSERVE_{name}", raising=False)
    return monkeypatch


@pytest.fixture
def certificate() -> Path:
    """A file of certificates that any program may trust."""
    return Path(grpc.__file__).parent / "_cython" / "_credentials" / "roots.pem"


def target_of(client: gradserve.Client) -> str:
    return repr(client).removeprefix("<gradserve.Client of ").removesuffix(">")


class TestOptions:
    def test_the_target_is_the_local_default_where_nothing_names_one(self):
        with gradserve.Client() as client:
            assert target_of(client) == "localhost:50051"

    def test_the_target_comes_from_the_environment(self, environment: pytest.MonkeyPatch, target: str):
        environment.setenv("GRADSERVE_TARGET", target)
        with gradserve.Client() as client:
            assert client.server_info().version == gradserve.__version__

    def test_an_explicit_target_goes_before_the_environment(self, environment: pytest.MonkeyPatch, target: str):
        environment.setenv("GRADSERVE_TARGET", NOWHERE)
        with gradserve.Client(target) as client:
            assert client.server_info().version == gradserve.__version__

    def test_the_timeout_comes_from_the_environment(self, environment: pytest.MonkeyPatch):
        environment.setenv("GRADSERVE_TIMEOUT", "0.05")
        with (
            scripted_server() as (target, _),
            gradserve.Client(target) as client,
            pytest.raises(gradserve.DeadlineExceededError),
        ):
            client.server_info()

    @pytest.mark.parametrize("timeout", ["soon", "0", "-1", "nan", "inf"])
    def test_a_timeout_in_the_environment_that_is_none_is_refused(self, environment: pytest.MonkeyPatch, timeout: str):
        environment.setenv("GRADSERVE_TIMEOUT", timeout)
        with pytest.raises(ValueError, match=f"GRADSERVE_TIMEOUT must be a positive .*'{timeout}'"):
            gradserve.Client()

    @pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
    def test_a_timeout_must_be_positive(self, client: gradserve.Client, timeout: float):
        with pytest.raises(ValueError, match="timeout must be a positive number of seconds, or None"):
            client.server_info(timeout=timeout)

    def test_a_token_is_sent_with_every_call_on_this_host(self, environment: pytest.MonkeyPatch):
        environment.setenv("GRADSERVE_TOKEN", "secret")
        with scripted_server(GetServerInfo=[OK]) as (target, script), gradserve.Client(target) as client:
            client.server_info()
        assert script.calls[0].metadata["authorization"] == "Bearer secret"

    def test_a_token_does_not_leave_this_host_in_clear(self):
        with pytest.raises(ValueError, match=r"a token is sent to example\.com:443 only over TLS: give tls_ca"):
            gradserve.Client("example.com:443", token="secret")  # noqa: S106 - it is none

    def test_a_token_may_leave_this_host_over_tls(self, certificate: Path):
        gradserve.Client("example.com:443", token="secret", tls_ca=certificate).close()  # noqa: S106 - it is none

    def test_a_file_of_certificates_that_is_not_there_is_told_at_once(self, environment: pytest.MonkeyPatch):
        environment.setenv("GRADSERVE_TLS_CA", "/nowhere/ca.pem")
        with pytest.raises(FileNotFoundError, match=r"/nowhere/ca\.pem"):
            gradserve.Client()

    @pytest.mark.parametrize("name", ["CERTIFICATE", "KEY"])
    def test_a_certificate_in_the_environment_goes_with_its_key(
        self, environment: pytest.MonkeyPatch, certificate: Path, name: str
    ):
        environment.setenv(f"GRADSERVE_TLS_{name}", str(certificate))
        with pytest.raises(ValueError, match="GRADSERVE_TLS_CERTIFICATE and GRADSERVE_TLS_KEY"):
            gradserve.Client(tls_ca=certificate)

    def test_a_certificate_is_shown_only_over_tls(self, certificate: Path):
        with pytest.raises(ValueError, match="give tls_ca, or GRADSERVE_TLS_CA"):
            gradserve.Client(tls_certificate=(certificate, certificate))

    def test_the_file_of_a_key_that_is_not_there_is_told_at_once(self, certificate: Path):
        with pytest.raises(FileNotFoundError, match=r"/nowhere/key\.pem"):
            gradserve.Client(tls_ca=certificate, tls_certificate=(certificate, "/nowhere/key.pem"))

    def test_metadata_is_sent_with_every_call(self):
        with (
            scripted_server(GetServerInfo=[OK]) as (target, script),
            gradserve.Client(target, metadata=[("tenant", "a"), ("blob-bin", b"\0")]) as client,
        ):
            client.server_info()
        assert (script.calls[0].metadata["tenant"], script.calls[0].metadata["blob-bin"]) == ("a", b"\0")


class TestWithOptions:
    def test_the_derived_client_has_its_own_timeout(self):
        with (
            scripted_server() as (target, _),
            gradserve.Client(target) as client,
            pytest.raises(gradserve.DeadlineExceededError),
        ):
            client.with_options(timeout=0.05).server_info()

    def test_the_derived_client_has_its_own_metadata(self):
        with scripted_server(GetServerInfo=[OK]) as (target, script), gradserve.Client(target) as client:
            client.with_options(metadata=[("tenant", "b")]).server_info()
            client.server_info()
        assert [call.metadata.get("tenant") for call in script.calls] == ["b", None]

    def test_both_share_one_connection_and_its_end(self, target: str):
        client = gradserve.Client(target)
        client.with_options(timeout=1).close()
        with pytest.raises(gradserve.ClientClosedError):
            client.server_info()


class TestClose:
    def test_a_second_close_does_nothing(self, target: str):
        client = gradserve.Client(target)
        client.close()
        client.close()
        assert repr(client) == f"<gradserve.Client of {target}, closed>"

    def test_a_call_after_it_is_refused(self, target: str):
        with gradserve.Client(target) as client:
            model = client.model("digits")
        with pytest.raises(gradserve.ClientClosedError, match="the client is closed"):
            model.info()

    def test_a_call_during_it_ends(self):
        with (
            scripted_server() as (target, script),
            gradserve.Client(target, timeout=30) as client,
            futures.ThreadPoolExecutor(1) as pool,
        ):
            call = pool.submit(client.server_info)
            assert script.arrived.wait(30)
            client.close()
            with pytest.raises(gradserve.ClientClosedError, match="closed during the call"):
                call.result()


class TestTimeout:
    def test_a_call_that_takes_longer_is_a_timeout_error(self):
        with (
            scripted_server() as (target, _),
            gradserve.Client(target) as client,
            pytest.raises(gradserve.DeadlineExceededError),
        ):
            client.server_info(timeout=0.05)

    def test_none_is_no_limit_even_where_the_client_has_one(self):
        with (
            scripted_server(GetServerInfo=[DOWN, OK]) as (target, _),
            gradserve.Client(target, timeout=0.001) as client,
        ):
            assert client.server_info(timeout=None).version == "1.2.3"


class TestWaitUntilReady:
    def test_returns_once_the_server_serves(self, target: str):
        with gradserve.Client(target) as client:
            client.wait_until_ready(30)

    def test_fails_in_time_where_there_is_no_server(self):
        with (
            gradserve.Client(NOWHERE) as client,
            pytest.raises(TimeoutError, match=r"127.0.0.1:1 was not ready in time"),
        ):
            client.wait_until_ready(0.3)

    def test_waits_for_a_server_that_starts_later(self):
        with scripted_server(GetServerInfo=[OK]) as (target, _):
            pass
        with gradserve.Client(target) as client, futures.ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(client.wait_until_ready, 30)
            with scripted_server(int(target.rpartition(":")[2]), GetServerInfo=[OK]):
                waiting.result()

    def test_waits_until_the_servers_health_is_serving(self):
        with scripted_server(GetServerInfo=[OK]) as (target, script), gradserve.Client(target) as client:
            script.health.set("", HealthCheckResponse.NOT_SERVING)
            with pytest.raises(gradserve.DeadlineExceededError):
                client.wait_until_ready(0.3)
            assert script.count(READ) == 0
            script.health.set("", HealthCheckResponse.SERVING)
            client.wait_until_ready(30)


class TestRetries:
    def test_a_read_is_tried_again_while_the_server_is_unavailable(self):
        with scripted_server(GetServerInfo=[DOWN, DOWN, OK]) as (target, script), gradserve.Client(target) as client:
            assert client.server_info().version == "1.2.3"
        assert script.count(READ) == 3

    def test_a_read_is_tried_five_times_at_most(self):
        with scripted_server(GetServerInfo=[DOWN]) as (target, script), gradserve.Client(target) as client:
            with pytest.raises(gradserve.UnavailableError):
                client.server_info()
            assert script.count(READ) == 5

    def test_a_full_server_says_how_long_to_wait(self):
        with scripted_server(GetServerInfo=[full("300"), OK]) as (target, script), gradserve.Client(target) as client:
            start = time.monotonic()
            client.server_info()
            assert time.monotonic() - start >= 0.3
        assert script.count(READ) == 2

    def test_what_is_too_large_is_not_sent_again(self):
        with scripted_server(GetServerInfo=[full("-1")]) as (target, script), gradserve.Client(target) as client:
            with pytest.raises(gradserve.ResourceExhaustedError):
                client.server_info()
            assert script.count(READ) == 1

    def test_a_write_is_sent_once(self):
        with scripted_server(DeleteModel=[DOWN, DELETED]) as (target, script), gradserve.Client(target) as client:
            with pytest.raises(gradserve.UnavailableError):
                client.delete_model("m")
            assert script.count("DeleteModel") == 1

    def test_a_request_of_several_megabytes_is_tried_again_too(self):
        x = np.ones((1024, 1024), np.float32)
        reply = inference_pb2.ForwardResponse(output=codec.encode(np.ones(1)))
        limits = model_pb2.Limits(max_message_bytes=2**26, max_rows=2**20, max_elements=2**27)
        answers = {READ: [model_pb2.GetServerInfoResponse(limits=limits)], "Forward": [DOWN, reply]}
        with scripted_server(**answers) as (target, script), gradserve.Client(target) as client:
            client.model("m")(x)
        assert script.count("Forward") == 2


class TestSizes:
    LIMITS = model_pb2.Limits(max_message_bytes=2**21, max_rows=2**19, max_elements=2**20)
    INFO = model_pb2.GetServerInfoResponse(limits=LIMITS)
    REPLY = inference_pb2.ForwardResponse(output=codec.encode(np.ones(1)))

    @pytest.mark.parametrize(
        ("x", "reason"),
        [
            (np.zeros((2**19 + 1, 2), np.uint8), "TOO_MANY_ROWS"),
            (np.zeros((2, 2**19 + 1), np.uint8), "TOO_MANY_ELEMENTS"),
            (np.zeros((2, 2**17), np.float64), "REQUEST_TOO_LARGE"),
        ],
        ids=["rows", "elements", "bytes"],
    )
    def test_what_exceeds_the_servers_limits_is_not_sent(self, x: np.ndarray, reason: str):
        with scripted_server(GetServerInfo=[self.INFO]) as (target, script), gradserve.Client(target) as client:
            with pytest.raises(gradserve.ResourceExhaustedError) as caught:
                client.model("m")(x)
            assert caught.value.reason == reason
            assert script.count("Forward") == 0

    def test_targets_and_vectors_count_too(self):
        with scripted_server(GetServerInfo=[self.INFO]) as (target, _), gradserve.Client(target) as client:
            half = np.zeros(2**17 + 1)
            with pytest.raises(gradserve.ResourceExhaustedError, match=r"2097168 bytes, and a message 2097152 at most"):
                client.model("m").gradient(half, half, loss="mse_loss")

    def test_the_clients_own_limit_counts_too(self):
        limits = model_pb2.Limits(max_message_bytes=2**30, max_rows=2**20, max_elements=2**30)
        info = model_pb2.GetServerInfoResponse(limits=limits)
        with (
            scripted_server(GetServerInfo=[info]) as (target, _),
            gradserve.Client(target, max_message_bytes=2**20) as client,
            pytest.raises(gradserve.ResourceExhaustedError, match="a message 1048576 at most"),
        ):
            client.model("m")(np.zeros(2**17))

    def test_the_limits_are_asked_for_once_and_only_for_what_is_large(self):
        answers = {READ: [self.INFO], "Forward": [self.REPLY]}
        with scripted_server(**answers) as (target, script), gradserve.Client(target) as client:
            model = client.model("m")
            model(np.zeros(2**10))
            assert script.count(READ) == 0
            model(np.zeros(2**17))
            model(np.zeros(2**17))
            assert (script.count(READ), script.count("Forward")) == (1, 3)


class TestModels:
    @pytest.fixture
    def many(self, client: gradserve.Client) -> Iterator[list[str]]:
        """More models than a page of the list holds."""
        names = [f"listed-{number:02}" for number in range(60)]
        for name in names:
            client.create_model(name, IDENTITY)
        yield names
        for name in names:
            client.delete_model(name)

    def test_the_list_holds_every_page(self, client: gradserve.Client, many: list[str]):
        listed = [info.name for info in client.list_models()]
        assert [name for name in listed if name.startswith("listed-")] == many
        assert {"digits", "logistic-regression", "mlp-50-30-20-3"} <= set(listed)

    def test_a_name_that_is_taken_is_refused(self, client: gradserve.Client):
        with pytest.raises(gradserve.AlreadyExistsError, match="digits"):
            client.create_model("digits", IDENTITY)

    def test_deleting_tells_the_last_version(self, client: gradserve.Client, client_kind: str):
        name = f"deleted-{client_kind}"
        client.create_model(name, IDENTITY)
        assert client.delete_model(name) == 1
        with pytest.raises(LookupError, match=name):
            client.model(name).info()

    def test_deleting_another_version_is_aborted(self, client: gradserve.Client):
        with pytest.raises(gradserve.AbortedError):
            client.delete_model("digits", if_version=99)

    @pytest.mark.parametrize("architecture", [gradserve.MLP(2**70, [], 1), gradserve.MLP(1, [1], 1, "Relu")])
    def test_an_impossible_architecture_is_an_invalid_argument(
        self, client: gradserve.Client, architecture: gradserve.MLP
    ):
        with pytest.raises(gradserve.InvalidArgumentError) as caught:
            client.create_model("impossible", architecture)
        assert caught.value.field_violations[0].field.startswith("architecture")

    def test_what_is_no_architecture_is_a_type_error(self, client: gradserve.Client):
        with pytest.raises(TypeError, match="must be an MLP or a Sequential, got list"):
            client.create_model("impossible", [50, 3])  # type: ignore[arg-type]

    def test_an_unknown_dtype_is_an_invalid_argument(self, client: gradserve.Client):
        with pytest.raises(gradserve.InvalidArgumentError, match="dtype: unknown dtype 'float31'"):
            client.create_model("impossible", IDENTITY, dtype="float31")


def test_server_info_tells_version_devices_and_limits(client: gradserve.Client):
    info = client.server_info()
    assert info.version == gradserve.__version__
    assert info.devices[-1].name == "cpu"
    assert info.limits.max_message_bytes == 64 * 1024 * 1024
    assert {"Linear", "ReLU"} <= set(info.layer_types)
    assert {"cross_entropy", "mse_loss"} <= set(info.losses)


def test_a_server_that_cannot_be_reached_is_a_connection_error():
    with gradserve.Client(NOWHERE) as client, pytest.raises(ConnectionError, match="Connection refused"):
        client.delete_model("m")


def test_any_number_of_threads_may_use_one_client(client: gradserve.Client):
    model = client.model("logistic-regression")
    inputs = [np.full((1, 1), number, np.float32) for number in range(64)]
    with futures.ThreadPoolExecutor(8) as pool:
        together = list(pool.map(model, inputs))
    np.testing.assert_allclose(together, [model(x) for x in inputs], rtol=1e-6)
