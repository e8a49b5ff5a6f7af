"""Gradserve for those who have torch: `pip install 'gradserve[torch]'`. Nothing else in the client imports it."""

from __future__ import annotations

from collections.abc import Mapping

try:
    import torch
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("torch is not installed: pip install 'gradserve[torch]'", name=error.name) from None

from gradserve._arrays import Array, to_kind_of

__all__ = ["tensors"]


def tensors(state_dict: Mapping[str, Array]) -> dict[str, torch.Tensor]:
    """Return arrays as torch tensors on the CPU, for `module.load_state_dict(tensors(model.state_dict()))`.

    Args:
        state_dict: numpy arrays by name. The tensors share their memory.
    """
    cpu = torch.empty(0)
    return {name: to_kind_of(cpu, array) for name, array in state_dict.items()}
