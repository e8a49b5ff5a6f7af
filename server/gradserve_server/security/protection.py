"""What protects a server: the files that say who may call, and how the two sides know each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from gradserve_server.config import ServerConfig
from gradserve_server.security.certificates import Certificates, watched_certificates
from gradserve_server.security.tokens import Tokens, watched_tokens
from gradserve_server.security.watched import Watched


@dataclass(frozen=True)
class Protection:
    """The files of tokens and certificates, each watched.

    Attributes:
        tokens: Those of which each call needs one; None if none does.
        certificates: What TLS needs; None if the server speaks in clear.
    """

    tokens: Watched[Tokens] | None
    certificates: Watched[Certificates] | None

    @classmethod
    def of(cls, config: ServerConfig) -> Self:
        """Read the files that a configuration names.

        Raises:
            ConfigError: One cannot be used.
        """
        return cls(watched_tokens(config), watched_certificates(config))

    def look(self) -> None:
        """Look at once whether they have changed."""
        for watched in (self.tokens, self.certificates):
            if watched is not None:
                watched.look()
