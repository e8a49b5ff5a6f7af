"""The tokens of a server: whose call it is, and whether he may make it."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from fnmatch import translate

from gradserve_server.config import Right, ServerConfig, TokenConfig, parse_tokens
from gradserve_server.errors import PermissionDenied, Unauthenticated
from gradserve_server.security.watched import Watched, WatchedFile

_SCHEME = "bearer "


class Token:
    """One token: a name for its bearer, and what he may do."""

    def __init__(self, name: str, config: TokenConfig) -> None:
        self.name = name
        self.digest = bytes.fromhex(config.sha256)
        self._rights = frozenset(config.rights)
        self._models = re.compile("|".join(map(translate, config.models)))

    def check(self, right: Right | None) -> None:
        """Refuse what needs a right that the token does not have; None is none.

        Raises:
            PermissionDenied: It does not have it.
        """
        if right is not None and right not in self._rights:
            raise PermissionDenied(f"the token does not have the right {right.value}", reason="RIGHT_MISSING")

    def allows(self, model: str) -> bool:
        """Whether the token is for a model of that name. It does not matter whether there is one."""
        return self._models.match(model) is not None


class Tokens:
    """All tokens, found by their hash: how long that takes tells nothing of the text of any."""

    def __init__(self, configs: Mapping[str, TokenConfig]) -> None:
        tokens = [Token(name, config) for name, config in configs.items()]
        self._by_digest = {token.digest: token for token in tokens}

    def authenticate(self, authorization: str | None) -> Token:
        """The token that a call brings.

        Args:
            authorization: The metadata of that name; None if it has none.

        Raises:
            Unauthenticated: It brings none, or one that is not known.
        """
        if authorization is None or authorization[: len(_SCHEME)].lower() != _SCHEME:
            message = "a token is required, in the metadata authorization: Bearer TOKEN"
            raise Unauthenticated(message, reason="TOKEN_REQUIRED")
        digest = hashlib.sha256(authorization[len(_SCHEME) :].encode()).digest()
        token = self._by_digest.get(digest)
        if token is None or not hmac.compare_digest(token.digest, digest):
            raise Unauthenticated("the token is not valid", reason="TOKEN_INVALID")
        return token


def watched_tokens(config: ServerConfig) -> Watched[Tokens] | None:
    """The tokens of the file that a configuration names; None if calls need none.

    Raises:
        ConfigError: The file cannot be used.
    """
    if config.tokens_file is None:
        return None
    file = WatchedFile("server.tokens_file", config.tokens_file, private=True)

    def parse(contents: Sequence[bytes]) -> Tokens:
        try:
            return Tokens(parse_tokens(contents[0].decode()))
        except UnicodeDecodeError:
            raise file.error("is not UTF-8 text") from None
        except ValueError as error:
            raise file.error(str(error)) from None

    return Watched([file], parse)
