"""From a TOML file, the environment and the command line to a checked configuration."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from gradserve_server.config.diagnosis import diagnose
from gradserve_server.config.options import ServeOptions
from gradserve_server.config.schema import Config

_PREFIX = "GRADSERVE_SERVER__"


class ConfigError(ValueError):
    """A configuration that cannot be used; its message is one line and names the setting and where it stands."""


@dataclass(frozen=True)
class _Setting:
    """One value on its way into the configuration.

    Attributes:
        path: The keys that lead to it, outermost first.
        value: As TOML gives it; an empty table stays, as an entry of its own.
        origin: The file, variable or flag that it comes from.
    """

    path: tuple[str, ...]
    value: object
    origin: str


def load_config(options: ServeOptions, environ: Mapping[str, str]) -> Config:
    """Gathers the settings and checks them.

    Args:
        options: What the command line said.
        environ: The environment, such as `os.environ`. A variable that is empty counts as not set.

    Raises:
        ConfigError: A source cannot be read, a key is unknown, or a value is of the wrong type or out of range.
    """
    settings = list(
        chain(_from_file(options.config), _from_environment(environ), _from_set(options), _from_flags(options))
    )
    try:
        return TypeAdapter(Config).validate_python(_merged(settings))
    except ValidationError as refusal:
        origins = {setting.path: setting.origin for setting in settings}
        raise ConfigError("; ".join(diagnose(error, origins) for error in refusal.errors())) from None


def _merged(settings: list[_Setting]) -> dict[str, object]:
    """One tree of all settings; a later one wins."""
    tree: dict[str, object] = {}
    for setting in settings:
        branch = tree
        for key in setting.path[:-1]:
            below = branch.get(key)
            if not isinstance(below, dict):
                below = branch[key] = {}
            branch = below
        if setting.value == {}:
            branch.setdefault(setting.path[-1], {})
        else:
            branch[setting.path[-1]] = setting.value
    return tree


def _from_file(path: Path | None) -> Iterator[_Setting]:
    if path is None:
        return
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text") from None
    except ValueError as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deeply") from None
    yield from _leaves(tables, (), str(path))


def _leaves(value: object, path: tuple[str, ...], origin: str) -> Iterator[_Setting]:
    if isinstance(value, dict) and (value or not path):
        for key, below in value.items():
            yield from _leaves(below, (*path, key), origin)
    else:
        yield _Setting(path, value, origin)


def _from_environment(environ: Mapping[str, str]) -> Iterator[_Setting]:
    for name, text in sorted(environ.items()):
        if name.startswith(_PREFIX) and text.strip():
            path = tuple(name.removeprefix(_PREFIX).lower().split("__"))
            if not all(path):
                raise ConfigError(f"{name}: must be {_PREFIX}SECTION__KEY")
            yield from _leaves(_value(text), path, name)


def _from_set(options: ServeOptions) -> Iterator[_Setting]:
    for text in options.settings:
        key, equals, value = text.partition("=")
        path = _keys(key)
        if not (equals and path):
            raise ConfigError(f"--set {text!r}: must be SECTION.KEY=VALUE")
        yield from _leaves(_value(value), path, f"--set {key.strip()}")


def _from_flags(options: ServeOptions) -> Iterator[_Setting]:
    if options.data_dir is not None and options.ephemeral:
        raise ConfigError("--ephemeral: keeps nothing on disk, so it does not go with --data-dir")
    if options.data_dir is not None:
        yield _Setting(("store", "data_dir"), str(options.data_dir), "--data-dir")
        yield _Setting(("store", "ephemeral"), value=False, origin="--data-dir")
    if options.ephemeral:
        yield _Setting(("store", "ephemeral"), value=True, origin="--ephemeral")
    if options.listen is not None:
        yield _Setting(("server", "listen"), options.listen, "--listen")
    if options.metrics_listen is not None:
        yield _Setting(("server", "metrics_listen"), options.metrics_listen, "--metrics-listen")
    if options.examples:
        yield _Setting(("server", "examples"), value=True, origin="--examples")


def _keys(text: str) -> tuple[str, ...]:
    """A dotted key as in TOML, where models."my.model".device has three parts; nothing if it is not one."""
    try:
        settings = list(_leaves(tomllib.loads(f"{text.strip()} = 0"), (), ""))
    except (ValueError, RecursionError):
        return ()
    return settings[0].path if len(settings) == 1 else ()


def _value(text: str) -> object:
    """A value written as in TOML; text needs no quotes, and True and False may be capitalised."""
    text = text.strip()
    try:
        tables = tomllib.loads(f"value = {text.lower() if text.lower() in {'true', 'false'} else text}")
    except (ValueError, RecursionError):
        return text
    return tables["value"] if len(tables) == 1 else text
