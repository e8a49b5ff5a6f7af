"""A configuration as the TOML file that gives it."""

import dataclasses

import tomli_w

from gradserve_server.config.schema import Config


def render_config(config: Config) -> str:
    """Every option in force, as TOML; loading it gives the same configuration again."""
    return tomli_w.dumps({section: _given(options) for section, options in dataclasses.asdict(config).items()})


def _given(value: object) -> object:
    """TOML has no null: an option that is None, or an empty list, is left out, as its default is the same."""
    if not isinstance(value, dict):
        return value
    return {key: _given(item) for key, item in value.items() if item is not None and item != ()}
