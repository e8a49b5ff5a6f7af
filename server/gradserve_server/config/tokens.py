"""The file of tokens: who may call the server, and what each of them may do."""

import hashlib
import json
import re
import secrets
import tomllib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import ErrorDetails

from gradserve_server.config.diagnosis import path_of

# By it a token is known where it should not be, such as in a repository.
_PREFIX = "gradserve_"
_RANDOM_BYTES = 32

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_GLOB = re.compile(r"[a-z0-9._*?\[\]!-]{1,512}")


class Right(StrEnum):
    """What a token may allow."""

    FORWARD = "forward"
    GRADIENT = "gradient"
    WEIGHTS_READ = "weights:read"
    WEIGHTS_WRITE = "weights:write"
    MODELS_WRITE = "models:write"


def _is_name(name: str) -> str:
    """Give back a token's name.

    Raises:
        ValueError: It is not one. A name can be mistaken for neither an address nor a certificate's subject.
    """
    if not _NAME.fullmatch(name):
        raise ValueError("must be named by 1 to 128 of A-Z, a-z, 0-9, '.', '_' and '-', first a letter or digit")
    return name


def _is_glob(glob: str) -> str:
    """Give back a glob over models' names.

    Raises:
        ValueError: It is not one.
    """
    if not _GLOB.fullmatch(glob):
        raise ValueError("must be a glob of a-z, 0-9, '.', '_', '-', '*', '?' and '[...]'")
    return glob


def _is_digest(text: str) -> str:
    if not _DIGEST.fullmatch(text):
        raise ValueError("must be the 64 lower-case hexadecimal digits of the token's SHA-256")
    return text


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TokenConfig:
    """One token. Its text has 256 random bits, which no number of guesses finds; so its hash need not be a slow one.

    Attributes:
        sha256: Of the token's text, in hexadecimal.
        rights: What its bearer may do.
        models: Globs over the names of the models with which he may do it.
    """

    sha256: Annotated[str, AfterValidator(_is_digest)]
    rights: Annotated[tuple[Right, ...], Field(min_length=1)]
    models: Annotated[tuple[Annotated[str, AfterValidator(_is_glob)], ...], Field(min_length=1)] = ("*",)


_TOKENS = TypeAdapter(Mapping[Annotated[str, AfterValidator(_is_name)], TokenConfig])


class NewToken(NamedTuple):
    """A token that was just made.

    Attributes:
        text: What its bearer shows.
        line: What a file of tokens must hold for it.
    """

    text: str
    line: str


def make_token(name: str, rights: Sequence[str], models: Sequence[str]) -> NewToken:
    """Make a token.

    Args:
        name: What to call its bearer.
        rights: What he may do; see `Right`.
        models: Globs over the names of the models with which he may do it.

    Raises:
        ValueError: One of them is not what a file of tokens may hold.
    """
    text = _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    digest = hashlib.sha256(text.encode()).hexdigest()
    _checked({name: {"sha256": digest, "rights": rights, "models": models}})
    # JSON writes such names, rights and globs as TOML does.
    key = json.dumps(name) if "." in name else name
    line = f'{key} = {{ sha256 = "{digest}", rights = {json.dumps(rights)}, models = {json.dumps(models)} }}'
    return NewToken(text, line)


def parse_tokens(text: str) -> Mapping[str, TokenConfig]:
    """The tokens of a file, by name.

    Raises:
        ValueError: It is not such a file. The message repeats no value: one may be a token, put there by mistake.
    """
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("is not TOML, or has a name twice") from None
    tokens = _checked(tables)
    names: dict[str, str] = {}
    for name, token in tokens.items():
        if (other := names.setdefault(token.sha256, name)) != name:
            raise ValueError(f"{name} has the sha256 of {other}")
    return tokens


def _checked(tables: Mapping[str, object]) -> Mapping[str, TokenConfig]:
    try:
        return _TOKENS.validate_python(tables)
    except ValidationError as refusal:
        raise ValueError("; ".join(map(_complaint, refusal.errors()))) from None


def _complaint(error: ErrorDetails) -> str:
    name = ".".join(path_of(error))
    match error["type"]:
        case "unexpected_keyword_argument":
            return f"unknown key {name!r}"
        case "value_error":
            return f"{name} {error['ctx']['error']}"
        case _:
            return f"{name}: {error['msg'].replace('Input should be', 'must be')}"
