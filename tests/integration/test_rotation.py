"""Certificates and tokens that change while the server runs."""

from __future__ import annotations

import itertools
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, replace

import grpc
import pytest

import gradserve
from gradserve.v1 import state_pb2, state_pb2_grpc
from tests.support.certificates import Authority, tls_flags
from tests.support.server import RunningServer, start_server
from tests.support.tokens import TokensFile
from tests.support.waiting import seconds_until

SECONDS = 5.0
"""How long everything is rotated under load."""


@dataclass(frozen=True)
class Place:
    """A server with TLS and tokens, and what its operator may change.

    Attributes:
        server: The server.
        authority: The authority of its certificate.
        tokens: Its tokens.
        past: What it had logged before.
    """

    server: RunningServer
    authority: Authority
    tokens: TokensFile
    past: str = ""

    def log(self) -> str:
        """What it has logged since."""
        return self.server.log().removeprefix(self.past)

    def client(self, token: str) -> gradserve.Client:
        """A client with a connection of its own."""
        return gradserve.Client(self.server.target, token=token, tls_ca=self.authority.ca)

    def shown(self) -> str:
        """The certificate that a new connection is shown."""
        host, _, port = self.server.target.rpartition(":")
        return ssl.get_server_certificate((host, int(port))).strip()


@pytest.fixture(scope="module")
def shared_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("place")
    authority, tokens = Authority.make(folder / "authority"), TokensFile(folder / "tokens.toml")
    with start_server("--examples", *tls_flags(authority.server()), *tokens.flags) as server:
        yield Place(server, authority, tokens)
        assert "Traceback" not in server.log()


@pytest.fixture
def place(shared_place: Place) -> Place:
    """The server of all these tests; each leaves it files that it can use."""
    return replace(shared_place, past=shared_place.log())


def is_let_in(client: gradserve.Client) -> bool:
    try:
        client.server_info()
    except gradserve.UnauthenticatedError:
        return False
    return True


def test_a_new_certificate_is_shown_to_the_next_connection_and_those_that_are_open_stay(place: Place):
    token = place.tokens.add("caller")
    with place.client(token) as client:
        seconds_until(lambda: is_let_in(client), 2)
        before = place.shown()
        issued = place.authority.server()
        wanted = issued.certificate.read_text().strip()
        assert before != wanted
        assert seconds_until(lambda: place.shown() == wanted, 5) < 2
        client.server_info()


@pytest.mark.parametrize("broken", ["another's key", "no certificate", "no file"])
def test_a_certificate_that_cannot_be_used_leaves_the_old_one_and_is_logged_once(place: Place, broken: str):
    before = place.shown()
    breaks: dict[str, Callable[[], object]] = {
        "another's key": lambda: place.authority.server("other").key.replace(place.authority.folder / "server.key"),
        "no certificate": lambda: (place.authority.folder / "server.pem").write_text("-----BEGIN NONSENSE-----"),
        "no file": (place.authority.folder / "server.pem").unlink,
    }
    breaks[broken]()
    seconds_until(lambda: (place.shown(), "stays in force" in place.log()) == (before, True), 5)
    wanted = place.authority.server().certificate.read_text().strip()
    seconds_until(lambda: place.shown() == wanted, 5)
    assert place.log().count("stays in force") == 1
    assert "PRIVATE KEY" not in place.log()


def test_a_token_that_is_taken_out_is_refused_within_two_seconds(place: Place):
    token = place.tokens.add("caller")
    with place.client(token) as client:
        seconds_until(lambda: is_let_in(client), 5)
        place.tokens.remove("caller")
        assert seconds_until(lambda: not is_let_in(client), 5) < 2


def test_an_upload_under_way_ends_when_its_token_is_taken_out(place: Place):
    token = place.tokens.add("uploader")
    with place.client(token) as client:
        seconds_until(lambda: is_let_in(client), 5)

        def parts() -> Iterator[state_pb2.LoadStateDictRequest]:
            yield state_pb2.LoadStateDictRequest(header={"model": "digits", "total_bytes": 2})
            yield state_pb2.LoadStateDictRequest(chunk=b"0")
            place.tokens.remove("uploader")
            seconds_until(lambda: not is_let_in(client), 5)
            yield state_pb2.LoadStateDictRequest(chunk=b"1")

        credentials = grpc.ssl_channel_credentials(place.authority.ca.read_bytes())
        with grpc.secure_channel(place.server.target, credentials) as channel:
            upload = state_pb2_grpc.StateServiceStub(channel).LoadStateDict
            with pytest.raises(grpc.RpcError) as caught:
                upload(parts(), metadata=(("authorization", f"Bearer {token}"),), timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_file_of_tokens_that_cannot_be_read_leaves_the_old_ones_and_is_logged_once(place: Place):
    token = place.tokens.add("caller")
    with place.client(token) as client:
        seconds_until(lambda: is_let_in(client), 5)
        place.tokens.path.write_text(f"nonsense = {token}")
        seconds_until(lambda: is_let_in(client) and "stays in force" in place.log(), 5)
        place.tokens.add("another")
        seconds_until(lambda: is_let_in(client) and place.log().count("read again") == 2, 5)
    assert place.log().count("stays in force") == 1
    assert token not in place.log()


def test_a_hangup_signal_has_the_files_read_although_nobody_calls(place: Place):
    place.tokens.add("caller")
    place.server.process.send_signal(signal.SIGHUP)
    seconds_until(lambda: "server.tokens_file: read again" in place.log(), 5)


def test_no_call_fails_while_certificates_and_tokens_are_rotated_under_load(place: Place):
    """Each token stays valid for two rotations, as a caller needs time to take the next."""
    token = place.tokens.add("stays")
    with place.client(token) as client:
        seconds_until(lambda: is_let_in(client), 5)
    ended = threading.Event()

    def call() -> int:
        """On one connection, and again and again on a new one."""
        calls = 0
        with place.client(token) as steady:
            while not ended.is_set():
                steady.model("logistic-regression")([[0.0]])
                with place.client(token) as fresh:
                    fresh.model("logistic-regression")([[0.0]])
                calls += 1
        return calls

    with futures.ThreadPoolExecutor(4) as pool:
        callers = [pool.submit(call) for _ in range(4)]
        end = time.monotonic() + SECONDS
        try:
            for number in itertools.count():
                place.authority.server()
                place.tokens.add(f"rotating-{number % 2}")
                if ended.wait(0.2) or time.monotonic() > end:
                    break
        finally:
            ended.set()
        assert sum(caller.result() for caller in callers) > 20
    assert place.log().count("server.tokens_file: read again") >= 2
