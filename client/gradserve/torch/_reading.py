"""Reads a module as what a server can host: layers, weights, and the names that they had."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

from gradserve._architecture import Sequential
from gradserve.torch._layers import refusal
from gradserve.torch._tracing import Step, chain

_SHOWN: Final = 5


@dataclass(frozen=True)
class ReadModule:
    """A module as a server would hold it.

    Attributes:
        architecture: Its layers.
        dtype: Of its parameters and floating buffers.
        state_dict: Its parameters and buffers by their names on the server.
        frozen: The names of the parameters that do not require grad.
        layers: What the module itself calls its layers, by their names on the server; those without weights are left
            out.
    """

    architecture: Sequential
    dtype: torch.dtype
    state_dict: Mapping[str, torch.Tensor]
    frozen: tuple[str, ...]
    layers: Mapping[str, str]


def read(module: nn.Module) -> ReadModule:
    """Return what a server needs to host a module.

    Raises:
        InvalidArgumentError: No server can; the message says what in it is not a chain of known layers.
        TypeError: It is not a module.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
    steps = chain(module)
    tensors = module.state_dict(keep_vars=True)
    _check_shared(steps, tensors)
    layers: dict[str, str] = {}
    state_dict: dict[str, torch.Tensor] = {}
    for index, step in enumerate(steps):
        prefix = f"{step.path}." if step.path else ""
        names = () if step.path is None else module.get_submodule(step.path).state_dict()
        for name in names:
            layers[f"layers.{index}"] = step.path or ""
            state_dict[f"layers.{index}.{name}"] = tensors.pop(prefix + name)
    if tensors:
        raise refusal(f"its forward does not use {_listed(tensors)}")
    frozen = (
        name for name, tensor in state_dict.items() if isinstance(tensor, nn.Parameter) and not tensor.requires_grad
    )
    architecture = Sequential(step.layer for step in steps)
    return ReadModule(architecture, _dtype(state_dict), state_dict, tuple(frozen), layers)


def _check_shared(steps: Sequence[Step], tensors: Mapping[str, torch.Tensor]) -> None:
    """Check that nothing is in two layers: on a server each would have a copy, and they would drift apart."""
    owners = {name.rpartition(".")[0] for name in tensors}
    used = Counter(step.path for step in steps if step.path in owners)
    if repeated := [str(path) or "it" for path, count in used.items() if count > 1]:
        raise refusal(f"its forward uses {_listed(repeated)} more than once, with the same weights")
    names: dict[int, str] = {}
    for name, tensor in tensors.items():
        if names.setdefault(id(tensor), name) != name:
            raise refusal(f"{names[id(tensor)]} and {name} are one tensor")


def _dtype(state_dict: Mapping[str, torch.Tensor]) -> torch.dtype:
    dtypes = {tensor.dtype: name for name, tensor in state_dict.items() if tensor.is_floating_point()}
    if len(dtypes) > 1:
        each = (f"{name} is {dtype}" for dtype, name in dtypes.items())
        raise refusal(f"it has more than one dtype: {_listed(each)}")
    return next(iter(dtypes), torch.float32)


def _listed(names: Iterable[str]) -> str:
    first, rest = (listed := list(names))[:_SHOWN], listed[_SHOWN:]
    return ", ".join(first) + (f" and {len(rest)} more" if rest else "")
