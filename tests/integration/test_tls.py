"""Connections with TLS: which are made, and which are not."""

from __future__ import annotations

import socket
import ssl
import warnings
from collections.abc import Iterator

import pytest

import gradserve
from tests.support.certificates import Authority, tls_flags
from tests.support.either_client import either_client
from tests.support.server import RunningServer, start_server

pytestmark = either_client


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def tls_server(authority: Authority) -> Iterator[RunningServer]:
    with start_server("--examples", *tls_flags(authority.server())) as server:
        yield server
        assert "Traceback" not in server.log()


def handshake(target: str, authority: Authority, version: ssl.TLSVersion) -> str | None:
    """The version of TLS that a server and a client that knows only one agree on."""
    context = ssl.create_default_context(cafile=authority.ca)
    context.set_alpn_protocols(["h2"])
    # Else this side would not offer the old ones.
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    host, _, port = target.rpartition(":")
    with socket.create_connection((host, int(port))) as raw, context.wrap_socket(raw, server_hostname=host) as secured:
        return secured.version()


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_tls_1_2_and_1_3_are_spoken(tls_server: RunningServer, authority: Authority, version: str):
    assert handshake(tls_server.target, authority, ssl.TLSVersion[version]) == version.replace("_", ".")


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
def test_what_is_older_is_not_spoken(tls_server: RunningServer, authority: Authority, version: str):
    with pytest.raises((ssl.SSLError, ConnectionError)):
        handshake(tls_server.target, authority, ssl.TLSVersion[version])


def test_a_client_without_tls_does_not_reach_a_server_with_it(tls_server: RunningServer):
    with gradserve.Client(tls_server.target) as client, pytest.raises(gradserve.UnavailableError):
        client.delete_model("digits")


def test_a_client_does_not_talk_to_a_server_that_it_does_not_trust(tls_server: RunningServer, tmp_path):
    stranger = Authority.make(tmp_path / "stranger")
    with gradserve.Client(tls_server.target, tls_ca=stranger.ca) as client, pytest.raises(gradserve.UnavailableError):
        client.delete_model("digits")


def test_the_files_of_a_client_come_from_the_environment(authority: Authority, monkeypatch: pytest.MonkeyPatch):
    own = authority.client("caller")
    monkeypatch.setenv("GRADSERVE_TLS_CA", str(authority.ca))
    monkeypatch.setenv("GRADSERVE_TLS_CERTIFICATE", str(own.certificate))
    monkeypatch.setenv("GRADSERVE_TLS_KEY", str(own.key))
    flags = tls_flags(authority.server("other"), authority.ca)
    with start_server(*flags) as server, gradserve.Client(server.target) as client:
        assert client.list_models() == []


def test_beyond_this_machine_a_server_with_tls_and_tokens_starts_without_being_told(authority: Authority, tmp_path):
    tokens = tmp_path / "tokens.toml"
    tokens.touch(mode=0o600)
    flags = ["--listen", "0.0.0.0:0", *tls_flags(authority.server("open")), "--set", f"server.tokens_file={tokens}"]
    with start_server(*flags) as server:
        port = server.target.rpartition(":")[2]
        with (
            gradserve.Client(f"127.0.0.1:{port}", tls_ca=authority.ca) as client,
            pytest.raises(gradserve.UnauthenticatedError),
        ):
            client.list_models()
