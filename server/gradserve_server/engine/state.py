"""A model's state_dict as a safetensors file, straight out of the weights' memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gradserve_server.engine.model import Model
from gradserve_server.engine.tensors import dtype_name
from gradserve_server.errors import InvalidArgument
from gradserve_server.safetensors_layout import file_order, write_layout
from gradserve_server.selection import check_globs, matching

CHUNK_BYTES = 1024**2
"""The most bytes that a state_dict is handed out in at a time."""


@dataclass(frozen=True)
class StateDict:
    """Some tensors of a model, as a safetensors file.

    Attributes:
        header: The file up to its first tensor.
        tensors: By key, in the file's order.
        sha256: Of the file, where that is known.
    """

    header: bytes
    tensors: Mapping[str, Tensor]
    sha256: bytes | None = None

    @property
    def total_bytes(self) -> int:
        """The size of the file."""
        return len(self.header) + sum(tensor.nbytes for tensor in self.tensors.values())

    def chunks(self, size: int = CHUNK_BYTES) -> Iterator[bytes | memoryview]:
        """The file's bytes, in parts of at most so many; views of the weights where they are on the CPU."""
        for start in range(0, len(self.header), size):
            yield self.header[start : start + size]
        for tensor in self.tensors.values():
            data = bytes_of(tensor.cpu())
            for start in range(0, len(data), size):
                yield data[start : start + size]


def state_dict(model: Model, keys: Sequence[str] = ()) -> StateDict:
    """The tensors of a model whose keys some globs match, or all of them.

    Raises:
        InvalidArgument: If a glob matches no key.
    """
    state = model.module.state_dict()
    chosen = [(key, dtype_name(state[key].dtype), tuple(state[key].shape)) for key in select_keys(keys, list(state))]
    ordered = file_order(chosen)
    tensors = {key: state[key].contiguous() for key, _, _ in ordered}
    sha256 = model.sha256 if len(tensors) == len(state) else None
    return StateDict(write_layout(ordered, {"format": "pt"}), tensors, sha256)


def select_keys(patterns: Sequence[str], keys: Sequence[str]) -> list[str]:
    """The keys that some globs match, in the keys' order; all of them where there is no glob.

    Raises:
        InvalidArgument: If a glob matches no key.
    """
    if not patterns:
        return list(keys)
    check_globs(patterns, "keys")
    chosen: set[str] = set()
    for index, pattern in enumerate(patterns):
        if not (matches := matching(pattern, keys)):
            raise InvalidArgument(f"{pattern!r} matches no key of the state_dict", field=f"keys[{index}]")
        chosen.update(matches)
    return [key for key in keys if key in chosen]


def bytes_of(tensor: Tensor) -> memoryview:
    """The memory of a contiguous CPU tensor."""
    return tensor.detach().reshape(-1).view(torch.uint8).numpy().data
