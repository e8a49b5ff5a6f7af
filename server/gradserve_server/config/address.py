"""Where a server listens: a host and a port, or a Unix socket."""

import ipaddress
import re
from dataclasses import dataclass

_HOSTNAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")

_LARGEST_PORT = 65_535

# The kernel's sockaddr_un holds 108 bytes on Linux and 104 on macOS, the closing zero included.
_LONGEST_SOCKET_PATH = 103


@dataclass(frozen=True)
class Address:
    """An address as gRPC writes it.

    Attributes:
        text: "127.0.0.1:50051", "[::1]:50051", "localhost:50051" or "unix:/run/gradserve.sock".
        host: Without brackets; empty for a Unix socket.
        port: 0 to have one chosen; None for a Unix socket.
    """

    text: str
    host: str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Reads an address.

        Raises:
            ValueError: It is not one; the message says what is wrong with it.
        """
        if text.startswith(("unix:", "unix-abstract:")):
            return _parse_socket(text)
        host, colon, port = text.rpartition(":")
        if not colon:
            raise ValueError(f"must be HOST:PORT or unix:PATH, got {text!r}")
        if not (port.isascii() and port.isdigit() and int(port) <= _LARGEST_PORT):
            raise ValueError(f"must end in a port between 0 and {_LARGEST_PORT}, got {text!r}")
        return cls(text, _parse_host(host, text), int(port))

    @property
    def is_local(self) -> bool:
        """Whether only programs on this machine can reach it. A name other than localhost is taken not to be."""
        if self.port is None:
            return True
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            return self.host.lower().rstrip(".") == "localhost"
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return (mapped or address).is_loopback


def _parse_socket(text: str) -> Address:
    path = text.partition(":")[2]
    if not path.removeprefix("//"):
        raise ValueError(f"must name a socket after the colon, got {text!r}")
    if len(path.encode()) > _LONGEST_SOCKET_PATH:
        raise ValueError(f"must name a socket in at most {_LONGEST_SOCKET_PATH} bytes, got {len(path.encode())}")
    return Address(text, "", None)


def _parse_host(host: str, text: str) -> str:
    if not host:
        raise ValueError(f"must name a host before the port, such as 127.0.0.1, got {text!r}")
    if host.startswith("[") and host.endswith("]"):
        try:
            return str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            raise ValueError(f"must hold an IPv6 address between the brackets, got {text!r}") from None
    if ":" in host:
        raise ValueError(f"must hold an IPv6 address in brackets, such as [::1]:50051, got {text!r}")
    if not _HOSTNAME.fullmatch(host):
        raise ValueError(f"must name a host before the port, got {text!r}")
    # A name of digits and dots alone is an address, or a slip of the pen in one.
    if re.fullmatch(r"[0-9.]+", host):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise ValueError(f"must hold an IPv4 address of four numbers up to 255, got {text!r}") from None
    return host
