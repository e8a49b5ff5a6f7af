"""From layers to the modules of torch.nn by the same names, and what those do in training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import torch
from torch import nn

from gradserve._architecture import Sequential

_RANDOM: Final = (nn.AlphaDropout, nn.Dropout, nn.FeatureAlphaDropout, nn.RReLU)
_BY_THE_BATCH: Final = nn.BatchNorm1d


def modules(architecture: Sequential, state_dict: Mapping[str, torch.Tensor]) -> nn.Sequential:
    """Return layers as torch's own modules, with these parameters and buffers, named as in an nn.Sequential.

    The global random state stays as it is.
    """
    # On the meta device nothing is drawn, and no memory is taken.
    with torch.device("meta"):
        layers = nn.Sequential(*(getattr(nn, layer.type)(**layer.arguments) for layer in architecture.layers))
    layers.load_state_dict(state_dict, assign=True)
    return layers


def in_training(layers: nn.Sequential) -> bool:
    """Return whether layers that behave differently in training are to do so.

    Raises:
        NotImplementedError: They would change themselves, or some are in training and others are not: a call has one
            mode for all, and changes nothing.
    """
    modes = dict(_modes(layers))
    for name in modes:
        layer = layers.get_submodule(name)
        if layer.training and isinstance(layer, _BY_THE_BATCH) and layer.track_running_stats:
            raise NotImplementedError(
                f"layers.{name} is {type(layer).__name__} in training, which updates its running statistics: a server "
                "changes nothing when it computes. Put it into evaluation, or make it with track_running_stats=False"
            )
    if len(set(modes.values())) > 1:
        listed = ", ".join(f"layers.{name}.training={mode}" for name, mode in modes.items())
        raise NotImplementedError(f"a server computes all layers in training, or none: {listed}")
    return True in modes.values()


def is_random(layers: nn.Sequential) -> bool:
    """Return whether random numbers are drawn in training."""
    return any(isinstance(layer, _RANDOM) for layer in layers)


def _modes(layers: nn.Sequential) -> Iterator[tuple[str, bool]]:
    for name, layer in layers.named_children():
        if isinstance(layer, (*_RANDOM, _BY_THE_BATCH)):
            yield name, layer.training
