"""Certificates for tests, of authorities that nobody else trusts."""

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, in files."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    """An authority that issues certificates into a folder, and the file that others trust it by."""

    folder: Path
    ca: Path
    authority: trustme.CA

    @classmethod
    def make(cls, folder: Path) -> "Authority":
        """A new one."""
        folder.mkdir(exist_ok=True)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        return cls(folder, folder / "ca.pem", authority)

    def server(self, name: str = "server") -> Issued:
        """A certificate for a server on this machine; a second one of the same name takes the place of the first."""
        return self._write(name, self.authority.issue_cert("127.0.0.1", "localhost"))

    def client(self, name: str) -> Issued:
        """A certificate for a client, with its name as the common one."""
        return self._write(name, self.authority.issue_cert(f"{name}@example.org", common_name=name))

    def _write(self, name: str, issued: trustme.LeafCert) -> Issued:
        files = Issued(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        files.key.touch(mode=0o600)
        issued.private_key_pem.write_to_path(files.key)
        files.certificate.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        return files


def tls_flags(issued: Issued, client_ca: Path | None = None) -> list[str]:
    """The flags of a server with a certificate."""
    settings = {"tls_certificate": issued.certificate, "tls_key": issued.key, "tls_client_ca": client_ca}
    return [word for name, path in settings.items() if path is not None for word in ("--set", f"server.{name}={path}")]
