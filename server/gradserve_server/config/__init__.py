"""How a server is set up: what its options are, where they come from, and why some are refused.

A value given by a flag wins over `--set`, which wins over the environment, which wins over the TOML file, which wins
over the default. Everything here is frozen and checked when it is built; nothing here imports torch.
"""

from gradserve_server.config.address import Address
from gradserve_server.config.loading import ConfigError, load_config
from gradserve_server.config.options import ServeOptions
from gradserve_server.config.rendering import render_config
from gradserve_server.config.schema import (
    BatchingConfig,
    ComputeConfig,
    Config,
    ConnectionsConfig,
    Limits,
    LogConfig,
    ModelConfig,
    ServerConfig,
    StoreConfig,
)
from gradserve_server.config.tokens import Right, TokenConfig, make_token, parse_tokens

__all__ = [
    "Address",
    "BatchingConfig",
    "ComputeConfig",
    "Config",
    "ConfigError",
    "ConnectionsConfig",
    "Limits",
    "LogConfig",
    "ModelConfig",
    "Right",
    "ServeOptions",
    "ServerConfig",
    "StoreConfig",
    "TokenConfig",
    "load_config",
    "make_token",
    "parse_tokens",
    "render_config",
]
