"""Certificates and tokens that change while the server runs."""

from __future__ import annotations

import os
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field, replace

import grpc
import pytest

import gradserve
from gradserve.v1 import state_pb2, state_pb2_grpc
from tests.support.certificates import Authority, tls_flags
from tests.support.server import RunningServer, start_server
from tests.support.tokens import TokensFile
from tests.support.waiting import seconds_until

SECONDS = float(os.environ.get("ROTATION_SECONDS", "5"))
"""How long all is rotated under load; 60 are the full length."""

LATE = 60.0
"""Seconds within which something must have happened on a busy machine."""


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


@dataclass
class Rotation:
    """What a fleet of callers has meanwhile.

    Attributes:
        token: The newest that the server knows.
        ended: Set when they may stop.
    """

    token: str
    ended: threading.Event = field(default_factory=threading.Event)

    def call(self, place: Place, steady_token: str) -> int:
        """Call on one connection, and again and again on a new one; give how often."""
        calls = 0
        with place.client(steady_token) as steady:
            while not self.ended.is_set():
                steady.model("logistic-regression")([[0.0]])
                with place.client(self.token) as fresh:
                    fresh.model("logistic-regression")([[0.0]])
                calls += 2
        return calls


def rotate(place: Place, name: str) -> tuple[str, float]:
    """Put a new certificate in the place of the old one, and a new token in that of its name, if there is one.

    Returns:
        The new token, and the seconds until the server knew it, and thus the old one no longer.
    """
    place.authority.server()
    token = place.tokens.add(name)
    with place.client(token) as client:
        return token, seconds_until(lambda: is_let_in(client), LATE)


def test_no_call_fails_while_certificates_and_tokens_are_rotated_under_load(place: Place, report: list[str]):
    """A token stays valid until its second successor is there, as a caller needs time to take the next."""
    steady_token, _ = rotate(place, "stays")
    tokens = [rotate(place, f"rotating-{number}")[0] for number in range(2)]
    rotation, slowest = Rotation(tokens[-1]), 0.0
    with futures.ThreadPoolExecutor(4) as pool:
        callers = [pool.submit(rotation.call, place, steady_token) for _ in range(4)]
        end = time.monotonic() + SECONDS
        try:
            while time.monotonic() < end:
                rotation.token, seconds = rotate(place, f"rotating-{len(tokens) % 2}")
                slowest = max(slowest, seconds)
                with place.client(tokens[-2]) as revoked:
                    assert not is_let_in(revoked)
                tokens.append(rotation.token)
                rotation.ended.wait(max(0.0, 1 - seconds))
        finally:
            rotation.ended.set()
        calls = sum(caller.result() for caller in callers)
    report.append(
        f"{len(tokens) - 2} rotations: {calls} calls, 0 failed; a token was revoked after {slowest:.1f} s at most"
    )
    assert calls > 20
    assert slowest < 2
    assert place.log().count("server.tls_certificate, server.tls_key: read again") >= len(tokens) - 2
