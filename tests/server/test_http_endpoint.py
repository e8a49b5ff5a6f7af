"""The HTTP endpoint of a real server, and those who misuse it."""

import contextlib
import socket
import subprocess
import sys
import threading
import time
import urllib.error
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from itertools import repeat

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import gradserve
from tests.support.metrics import SECONDS, page, scrape
from tests.support.server import RunningServer, start_server

MOST_CONNECTIONS = 32
SECONDS_TO_LIVE = 10
SERVE = [sys.executable, "-m", "gradserve", "serve", "--ephemeral"]


def address_of(server: RunningServer) -> tuple[str, int]:
    host, _, port = server.http.removeprefix("http://").rpartition(":")
    return host, int(port)


@pytest.fixture
def host_and_port(server: RunningServer) -> tuple[str, int]:
    return address_of(server)


@pytest.fixture
def connection(host_and_port) -> Iterator[HTTPConnection]:
    with contextlib.closing(HTTPConnection(*host_and_port, timeout=SECONDS)) as opened:
        yield opened


def exchange(address: tuple[str, int], sent: bytes) -> bytes:
    """All that is answered to some bytes, until the other side closes."""
    with socket.create_connection(address, SECONDS) as opened:
        opened.sendall(sent)
        return b"".join(iter(lambda: opened.recv(65_536), b""))


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/readyz?verbose"])
def test_a_server_that_serves_is_alive_and_ready(server, path):
    assert page(server.http, path) == ("SERVING\n", "text/plain; charset=utf-8")


@pytest.mark.parametrize("path", ["/", "/metrics/", "/../metrics", "/etc/passwd", "/%6detrics"])
def test_another_path_is_not_found_and_the_paths_that_there_are_are_told(server, path):
    with pytest.raises(urllib.error.HTTPError) as caught:
        page(server.http, path)
    with caught.value as refusal:
        assert (refusal.code, refusal.read()) == (404, b"/metrics\n/healthz\n/readyz\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "EVIL"])
def test_a_method_that_would_change_something_is_refused(connection, method):
    connection.request(method, "/metrics")
    reply = connection.getresponse()
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")


def test_head_tells_the_length_of_what_get_would_tell(connection):
    connection.request("HEAD", "/readyz")
    reply = connection.getresponse()
    assert (reply.status, reply.headers["content-length"], reply.read()) == (200, str(len("SERVING\n")), b"")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\nhost: a\r\ncookie: " + b"c" * 100_000, b"431"),
        (b"GET /" + b"m" * 100_000, b"431"),
    ],
    ids=["text", "tls", "no host", "a long header", "a long path"],
)
def test_what_is_not_a_request_is_refused(host_and_port, sent, status):
    with contextlib.suppress(ConnectionResetError):
        # It does not read what is too long to the end, so its answer may be lost.
        assert exchange(host_and_port, sent).startswith(b"HTTP/1.1 " + status)


def test_who_says_nothing_and_leaves_is_not_answered(host_and_port):
    with socket.create_connection(host_and_port, SECONDS) as opened:
        opened.shutdown(socket.SHUT_WR)
        assert opened.recv(1) == b""


def test_a_connection_that_stays_silent_is_cut_off(host_and_port):
    begun = time.monotonic()
    with contextlib.suppress(ConnectionResetError):
        assert exchange(host_and_port, b"GET /metrics HTTP/1.1\r\n") == b""
    assert SECONDS_TO_LIVE - 1 < time.monotonic() - begun < SECONDS_TO_LIVE + 5


def test_of_many_silent_connections_the_oldest_are_cut_off_and_everybody_else_is_served(server, host_and_port):
    with contextlib.ExitStack() as stack, gradserve.Client(server.target) as client:
        silent = [stack.enter_context(socket.create_connection(host_and_port)) for _ in range(3 * MOST_CONNECTIONS)]
        for number, opened in enumerate(silent):
            opened.sendall(b"GET /metrics HTTP/1.1\r\n" if number % 2 else b"G")
        assert scrape(server.http).value("gradserve_model_ready", model="digits") == 1
        assert client.model("logistic-regression").forward([[0.0]]) == [[0.5]]
        silent[0].settimeout(5)
        with contextlib.suppress(ConnectionResetError):
            assert silent[0].recv(1) == b""


@pytest.fixture(scope="module")
def large_page() -> Iterator[RunningServer]:
    """A server whose page of metrics is larger than what the system takes for a reader that does not read."""
    with start_server() as running, gradserve.Client(running.target) as client:
        for number in range(120):
            model = client.create_model(f"m{number}", gradserve.MLP(1, [], 1))
            model.forward([[1.0]])
            model.gradient([[1.0]], [[1.0]], loss="mse_loss")
        yield running


def test_readers_that_read_nothing_do_not_delay_others(large_page):
    with contextlib.ExitStack() as stack:
        for _ in range(MOST_CONNECTIONS - 1):
            slow = stack.enter_context(socket.socket())
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            slow.connect(address_of(large_page))
            slow.sendall(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n")
        begun = time.monotonic()
        assert page(large_page.http, "/healthz")[0] == "SERVING\n"
        assert scrape(large_page.http).value("gradserve_model_ready", model="m0") == 1
        assert time.monotonic() - begun < SECONDS_TO_LIVE - 1


def test_those_who_ask_together_share_a_page(large_page):
    """Written one after the other, with the pauses between them, the pages would take longer than they may."""
    request = b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n"
    with ThreadPoolExecutor(MOST_CONNECTIONS - 1) as callers:
        answers = list(callers.map(exchange, [address_of(large_page)] * (MOST_CONNECTIONS - 1), repeat(request)))
    assert len({answer.partition(b"\r\n\r\n")[2] for answer in answers}) < MOST_CONNECTIONS // 2
    assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)


def test_readiness_follows_the_life_of_the_server():
    with start_server("--set", "server.drain_delay=30") as server, grpc.insecure_channel(server.target) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        assert page(server.http, "/readyz")[0] == "SERVING\n"
        server.process.terminate()
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(urllib.error.HTTPError) as caught:
            page(server.http, "/readyz")
        with caught.value as refusal:
            assert (refusal.code, refusal.read()) == (503, b"DRAINING\n")
        assert page(server.http, "/healthz")[0] == "DRAINING\n"
        assert scrape(server.http).values


def test_a_server_that_starts_is_alive_but_not_ready(tmp_path):
    """The models are so many that it is asked while they are built."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = tmp_path / "server.toml"
    models = (f"[models.m{i}]\nin_features=800\nhidden_features=[800,800]\nout_features=9\n" for i in range(60))
    config.write_text("".join(models))
    command = [*SERVE, "--listen", f"unix:{tmp_path}/socket", "--metrics-listen", address, "--config", config]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        assert asked(address, "/readyz") == (503, "STARTING\n")
        assert asked(address, "/healthz") == (200, "STARTING\n")
        answers = iter(lambda: asked(address, "/readyz"), (200, "SERVING\n"))
        assert set(answers) <= {(503, "STARTING\n")}
        process.terminate()


def asked(address: str, path: str) -> tuple[int, str]:
    """What a server answers that may not listen yet."""
    for _ in range(SECONDS * 20):
        try:
            return 200, page(f"http://{address}", path)[0]
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.read().decode()
        except OSError:
            threading.Event().wait(0.05)
    raise AssertionError(f"nobody listens on {address}")


def test_a_second_server_on_the_same_port_does_not_start(server):
    address = server.http.removeprefix("http://")
    command = [*SERVE, "--listen", "127.0.0.1:0", "--metrics-listen", address]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (second.returncode, second.stdout, len(second.stderr.splitlines())) == (1, "", 1)
    assert f"cannot listen on {address} for metrics" in second.stderr


@pytest.mark.parametrize("host", ["[::1]", "localhost"])
def test_the_address_may_be_a_name_or_of_ipv6(host):
    with start_server("--metrics-listen", f"{host}:0") as server:
        assert server.http.startswith(f"http://{host}:")
        assert page(server.http, "/readyz")[0] == "SERVING\n"
