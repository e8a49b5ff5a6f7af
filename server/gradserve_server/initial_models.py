"""The models that a server starts with: the configured ones and, if asked for, the bundled ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gradserve_server.architecture import Architecture, Layer, LayerArgument, mlp
from gradserve_server.bundled import BUNDLED
from gradserve_server.config import Config, ConfigError, ModelConfig
from gradserve_server.definitions import NewModel


def initial_models(config: Config) -> list[NewModel]:
    """The models to create at start, by name; a configured one replaces a bundled one of its name.

    Raises:
        ConfigError: If a layer of a configured model is not written as a table of a type and its arguments.
        InvalidArgument: If a width is refused.
    """
    bundled = BUNDLED.values() if config.server.examples else ()
    models = {
        model.name: NewModel(model.name, model.architecture, seed=model.seed, weights=model.read_weights())
        for model in bundled
    }
    for name, model in config.models.items():
        models[name] = NewModel(name, _architecture(name, model), model.dtype, model.device, model.seed)
    return [models[name] for name in sorted(models)]


def _architecture(name: str, model: ModelConfig) -> Architecture:
    if model.in_features is not None and model.out_features is not None:
        return mlp(model.in_features, model.hidden_features, model.out_features, model.activation)
    layers = tuple(_layer(f"models.{name}.layers[{index}]", layer) for index, layer in enumerate(model.layers))
    return Architecture(layers)


def _layer(path: str, table: Mapping[str, object]) -> Layer:
    kind = table.get("type")
    if not isinstance(kind, str):
        raise ConfigError(f'{path} needs a type, such as type = "Linear"')
    return Layer(kind, {name: _argument(f"{path}.{name}", value) for name, value in table.items() if name != "type"})


def _argument(path: str, value: object) -> LayerArgument:
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Sequence) and all(isinstance(size, int) for size in value):
        return tuple(value)
    raise ConfigError(f"{path} must be a bool, a number, a text or a list of integers")
