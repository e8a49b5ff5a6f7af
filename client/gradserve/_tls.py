"""The files with which a client's connection is encrypted, and with which it tells who it is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeAlias

import grpc

FilePath: TypeAlias = str | os.PathLike[str]


@dataclass(frozen=True)
class Tls:
    """Files in PEM.

    Attributes:
        ca: The certificates to trust.
        certificate: The chain of certificates to show the server; None to show none.
        key: The private key of the first of them.
    """

    ca: FilePath
    certificate: FilePath | None
    key: FilePath | None

    @classmethod
    def find(
        cls, ca: FilePath | None, certificate: tuple[FilePath, FilePath] | None, environ: Mapping[str, str]
    ) -> Self | None:
        """Fill what is None from GRADSERVE_TLS_CA, and GRADSERVE_TLS_CERTIFICATE and GRADSERVE_TLS_KEY.

        Returns:
            The files; None for a connection without TLS.

        Raises:
            ValueError: There is a certificate without its key, a key without its certificate, or either without `ca`.
        """
        ca = ca if ca is not None else environ.get("GRADSERVE_TLS_CA") or None
        own, key = certificate or (environ.get("GRADSERVE_TLS_CERTIFICATE"), environ.get("GRADSERVE_TLS_KEY"))
        if bool(own) != bool(key):
            raise ValueError("a certificate and its key go together: GRADSERVE_TLS_CERTIFICATE and GRADSERVE_TLS_KEY")
        if own and ca is None:
            raise ValueError("a certificate is shown only over TLS: give tls_ca, or GRADSERVE_TLS_CA")
        return None if ca is None else cls(ca, own or None, key or None)

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files.

        Raises:
            OSError: One cannot be read.
        """
        return grpc.ssl_channel_credentials(_read(self.ca), _read(self.key), _read(self.certificate))


def _read(path: FilePath | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()
