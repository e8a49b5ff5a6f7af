"""Weights as torch tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from gradserve._arrays import Array, to_kind_of


def tensors(state_dict: Mapping[str, Array]) -> dict[str, torch.Tensor]:
    """Return arrays as torch tensors on the CPU, for `module.load_state_dict(tensors(model.state_dict()))`.

    Args:
        state_dict: numpy arrays by name. The tensors share their memory.
    """
    cpu = torch.empty(0)
    return {name: to_kind_of(cpu, array) for name, array in state_dict.items()}
