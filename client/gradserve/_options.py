"""The options of a client: explicit, else from the environment, else the default."""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from gradserve._tls import Tls

DEFAULT_TARGET: Final = "localhost:50051"
DEFAULT_TIMEOUT: Final = 10.0
DEFAULT_MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024

_LOCAL: Final = re.compile(r"(dns:/*|ipv[46]:)?(localhost|127(\.\d+){3}|\[::1\])(:\d+)?|unix(-abstract)?:.*")


class Unset(enum.Enum):
    """The type of `UNSET`, which tells an argument that was left out from None."""

    UNSET = enum.auto()

    def __repr__(self) -> str:
        """Return the name, which signatures show."""
        return self.name


UNSET: Final = Unset.UNSET

Timeout: TypeAlias = float | Unset | None
"""Seconds; None for no limit; UNSET for the client's own."""


@dataclass(frozen=True)
class ChannelOptions:
    """What a connection is made with.

    Attributes:
        target: The server's address as gRPC takes it: "host:port", "unix:path" or "dns:///host:port".
        token: What to show the server as the caller's right; None for none.
        tls: The files of certificates; None for a connection without TLS.
        max_message_bytes: The largest message to send or receive.
    """

    target: str
    token: str | None = field(repr=False)
    tls: Tls | None
    max_message_bytes: int

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with every call: the token, if there is one."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()

    @property
    def is_local(self) -> bool:
        """Whether calls stay on this host."""
        return _LOCAL.fullmatch(self.target) is not None


@dataclass(frozen=True)
class CallOptions:
    """What each call is made with.

    Attributes:
        timeout: Seconds that a call may take, retries included; None for no limit.
        metadata: Pairs to send along.
    """

    timeout: float | None
    metadata: tuple[tuple[str, str | bytes], ...] = ()


def channel_options(
    target: str | None,
    *,
    token: str | None,
    tls: Tls | None,
    max_message_bytes: int,
    environ: Mapping[str, str],
) -> ChannelOptions:
    """Fill what is None from GRADSERVE_TARGET and GRADSERVE_TOKEN.

    Raises:
        ValueError: A token would cross the network in clear.
    """
    options = ChannelOptions(
        target=target or environ.get("GRADSERVE_TARGET") or DEFAULT_TARGET,
        token=token if token is not None else environ.get("GRADSERVE_TOKEN") or None,
        tls=tls,
        max_message_bytes=max_message_bytes,
    )
    if options.token and options.tls is None and not options.is_local:
        raise ValueError(f"a token is sent to {options.target} only over TLS: give tls_ca, or GRADSERVE_TLS_CA")
    return options


def default_timeout(timeout: Timeout, environ: Mapping[str, str]) -> float | None:
    """Return the timeout, else GRADSERVE_TIMEOUT in seconds, else 10 s.

    Raises:
        ValueError: It is not a positive number.
    """
    if timeout is not UNSET:
        return check_timeout(timeout)
    text = environ.get("GRADSERVE_TIMEOUT")
    if not text:
        return DEFAULT_TIMEOUT
    try:
        return check_timeout(float(text))
    except ValueError as error:
        raise ValueError(f"GRADSERVE_TIMEOUT must be a positive number of seconds, got {text!r}") from error


def check_timeout(timeout: float | None) -> float | None:
    """Return the timeout.

    Raises:
        ValueError: It is not a positive number.
    """
    if timeout is not None and not 0 < timeout < math.inf:
        raise ValueError(f"timeout must be a positive number of seconds, or None for no limit; got {timeout!r}")
    return timeout
