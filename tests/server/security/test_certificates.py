"""The files of certificates: what gRPC could not use is refused by its setting, and none of it is told."""

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from gradserve_server.config import ConfigError, ServerConfig
from gradserve_server.security.certificates import watched_certificates
from tests.support.certificates import Authority, Issued


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.make(tmp_path / "authority")


@pytest.fixture
def issued(authority: Authority) -> Issued:
    return authority.server()


def config(issued: Issued, client_ca: Path | None = None) -> ServerConfig:
    return ServerConfig(
        tls_certificate=str(issued.certificate),
        tls_key=str(issued.key),
        tls_client_ca=None if client_ca is None else str(client_ca),
    )


def test_files_that_belong_together_are_taken(issued: Issued, authority: Authority):
    watched = watched_certificates(config(issued, authority.ca))
    assert watched is not None
    assert watched.value == (issued.certificate.read_bytes(), issued.key.read_bytes(), authority.ca.read_bytes())


def test_without_any_the_server_speaks_in_clear():
    assert watched_certificates(ServerConfig()) is None


def encrypt(key: Path) -> None:
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    encryption = serialization.BestAvailableEncryption(b"passphrase")
    key.write_bytes(private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))


def swap(issued: Issued) -> None:
    certificate = issued.certificate.read_bytes()
    issued.certificate.write_bytes(issued.key.read_bytes())
    issued.key.write_bytes(certificate)


SPOILED: dict[str, tuple[Callable[[Issued], object], str]] = {
    "no certificate": (lambda issued: issued.certificate.write_bytes(b""), "server.tls_certificate"),
    "noise for a certificate": (lambda issued: issued.certificate.write_bytes(b"\xff\xfe"), "server.tls_certificate"),
    "half a certificate": (lambda issued: halve(issued.certificate), "server.tls_certificate"),
    "no file of certificates": (lambda issued: issued.certificate.unlink(), "server.tls_certificate"),
    "each in the other's file": (swap, "server.tls_certificate"),
    "no key": (lambda issued: issued.key.write_bytes(b""), "server.tls_key"),
    "half a key": (lambda issued: halve(issued.key), "server.tls_key"),
    "a certificate for a key": (
        lambda issued: issued.key.write_bytes(issued.certificate.read_bytes()),
        "server.tls_key",
    ),
    "a key with a passphrase": (lambda issued: encrypt(issued.key), "server.tls_key"),
}


def halve(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("how", SPOILED)
def test_a_file_that_cannot_be_used_is_named_by_its_setting_and_not_repeated(issued: Issued, how: str):
    spoil, setting = SPOILED[how]
    spoil(issued)
    with pytest.raises(ConfigError) as caught:
        watched_certificates(config(issued))
    assert str(caught.value).startswith(f"{setting}: {issued.certificate.parent}")
    assert "BEGIN" not in str(caught.value)


def test_the_key_of_another_certificate_is_refused(issued: Issued, authority: Authority):
    other = authority.server("other")
    with pytest.raises(ConfigError, match=r"^server\.tls_key: .* is not the private key of server\.tls_certificate"):
        watched_certificates(config(Issued(issued.certificate, other.key)))


def test_a_client_ca_without_certificates_is_refused(issued: Issued):
    with pytest.raises(ConfigError, match=r"^server\.tls_client_ca: .*: holds no certificates in PEM"):
        watched_certificates(config(issued, issued.key))
