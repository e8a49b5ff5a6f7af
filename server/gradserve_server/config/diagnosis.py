"""What is wrong with a setting, in words for the person who wrote it."""

import dataclasses
import difflib
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from pydantic_core import ErrorDetails

from gradserve_server.config.schema import Config, ModelConfig

# Pydantic speaks of inputs and of Python's types; these are the ones whose words would puzzle a reader of TOML.
_EXPECTED = MappingProxyType(
    {
        "bool_type": "must be true or false",
        "dataclass_type": "must be a table",
        "dict_type": "must be a table",
        "float_type": "must be a number",
        "int_type": "must be a whole number",
        "mapping_type": "must be a table",
        "string_too_short": "must not be empty",
        "string_type": "must be text",
        "tuple_type": "must be a list",
    }
)


def diagnose(error: ErrorDetails, origins: Mapping[tuple[str, ...], str]) -> str:
    """One clause: where the setting stands, its dotted name, and what is wrong with it.

    Args:
        error: One of `ValidationError.errors()`.
        origins: Where each setting comes from, by its path.
    """
    path = path_of(error)
    origin = _origin(path, origins)
    return f"{origin}: {_clause(path, error)}" if origin else _clause(path, error)


def path_of(error: ErrorDetails) -> tuple[str, ...]:
    """The keys that lead to the setting; a place in a list belongs to the list's key, as in hidden_features[1]."""
    path: list[str] = []
    for key in error["loc"]:
        if isinstance(key, int):
            path[-1] += f"[{key}]"
        elif key != "[key]":
            path.append(key)
    return tuple(path)


def _origin(path: tuple[str, ...], origins: Mapping[tuple[str, ...], str]) -> str:
    """Of the setting itself, else of the table that it is in, else of the first setting in it."""
    for length in range(len(path), 0, -1):
        if path[:length] in origins:
            return origins[path[:length]]
    return next((origin for known, origin in origins.items() if known[: len(path)] == path), "")


def _clause(path: tuple[str, ...], error: ErrorDetails) -> str:
    name = ".".join(path)
    match error["type"]:
        case "unexpected_keyword_argument":
            return f"unknown key {name!r}{_suggestion(path)}"
        case "value_error":
            return f"{name} {error['ctx']['error']}"
        case "string_pattern_mismatch" if "[key]" in error["loc"]:
            return f"{name} must be 1 to 128 of a-z, 0-9, '.', '_' and '-', and start with a letter or digit"
        case "string_pattern_mismatch":
            return f"{name} must be auto, cpu, cuda, cuda:<n> or mps, got {error['input']!r}"
        case kind:
            wanted = _EXPECTED.get(kind, error["msg"].replace("Input should be", "must be"))
            return f"{name} {wanted}, got {error['input']!r}"


def _suggestion(path: tuple[str, ...]) -> str:
    """The known key that is spelled most like this one; if none is, the one of that name in another section."""
    known = list(_known(path))
    name = ".".join(path)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    close = close or [key for key in known if key.rpartition(".")[2] == path[-1]]
    return f"; did you mean {close[0]!r}?" if close else ""


def _known(path: tuple[str, ...]) -> Iterator[str]:
    for section in dataclasses.fields(Config):
        yield section.name
        if dataclasses.is_dataclass(section.type):
            yield from (f"{section.name}.{option.name}" for option in dataclasses.fields(section.type))
    if path[0] == "models":
        yield from (".".join(("models", path[1], option.name)) for option in dataclasses.fields(ModelConfig))
