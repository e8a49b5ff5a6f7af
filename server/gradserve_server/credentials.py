"""From certificates to gRPC's credentials of a server."""

from __future__ import annotations

import grpc

from gradserve_server.security.certificates import Certificates
from gradserve_server.security.watched import Watched


def server_credentials(certificates: Watched[Certificates]) -> grpc.ServerCredentials:
    """TLS with the certificates that the files hold at the time of each handshake.

    A connection keeps those that it began with. gRPC speaks TLS 1.2 and 1.3 and nothing older. It can either ask each
    client for a certificate and verify it, or ask none.
    """
    shown = certificates.value

    def changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal shown
        if (current := certificates.value) is shown:
            return None
        shown = current
        return _configuration(current)

    requires_client = shown.client_ca is not None
    # None stands for no change; the stubs do not know that.
    return grpc.dynamic_ssl_server_credentials(_configuration(shown), changed, requires_client)  # type: ignore[arg-type]


def _configuration(certificates: Certificates) -> grpc.ServerCertificateConfiguration:
    pair = (certificates.key, certificates.chain)
    return grpc.ssl_server_certificate_configuration([pair], certificates.client_ca)
