"""The certificates of a server: what it shows its clients, and what it asks of them."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gradserve_server.config import ServerConfig
from gradserve_server.security.watched import Watched, WatchedFile


class Certificates(NamedTuple):
    """What TLS needs; all PEM.

    Attributes:
        chain: The server's certificate, and those that lead from it to one that clients trust.
        key: The private key of the first.
        client_ca: The certificates of which one must have signed a client's; None if clients need none.
    """

    chain: bytes
    key: bytes
    client_ca: bytes | None = None


class _Files(NamedTuple):
    """The files of the certificates, in the same order."""

    chain: WatchedFile
    key: WatchedFile
    client_ca: WatchedFile | None

    def parse(self, contents: Sequence[bytes]) -> Certificates:
        """Check what was read.

        Raises:
            ConfigError: gRPC could not use it.
        """
        certificates = Certificates(*contents)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _use_authorities(context, self.chain, certificates.chain)
        if self.client_ca is not None and certificates.client_ca is not None:
            _use_authorities(context, self.client_ca, certificates.client_ca)
        # OpenSSL compares a key with its certificate only in files. Should they have changed since they were read, the
        # next look sees that.
        complaint = f"is not the private key of {self.chain.setting} in PEM, has a passphrase, or is too weak"
        _use(self.key, complaint, lambda: context.load_cert_chain(self.chain.path, self.key.path, password=str))
        return certificates


def watched_certificates(config: ServerConfig) -> Watched[Certificates] | None:
    """The certificates that a configuration names; None if the server speaks in clear.

    Raises:
        ConfigError: A file cannot be used, or the key is another certificate's.
    """
    if config.tls_certificate is None or config.tls_key is None:
        return None
    files = _Files(
        chain=WatchedFile("server.tls_certificate", config.tls_certificate),
        key=WatchedFile("server.tls_key", config.tls_key, private=True),
        client_ca=WatchedFile("server.tls_client_ca", config.tls_client_ca) if config.tls_client_ca else None,
    )
    return Watched([file for file in files if file is not None], files.parse)


def _use_authorities(context: ssl.SSLContext, file: WatchedFile, pem: bytes) -> None:
    _use(file, "holds no certificates in PEM", lambda: context.load_verify_locations(cadata=pem.decode("ascii")))


def _use(file: WatchedFile, complaint: str, attempt: Callable[[], None]) -> None:
    # What OpenSSL says about it is about numbers, and Python may repeat parts of the file.
    try:
        attempt()
    except (OSError, ValueError):
        raise file.error(complaint) from None
