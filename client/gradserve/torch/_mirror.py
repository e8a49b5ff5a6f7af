"""What a server has of a model's weights, as far as this process knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeAlias

import torch

from gradserve import AbortedError, FailedPreconditionError, Model

Tensors: TypeAlias = Mapping[str, torch.Tensor]

# What a number is compared as: with its sign, if it is zero, and equal to itself, if it is none.
_BITS: Final = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Mirror:
    """Holds a copy of the weights that the server had last, and sends it those that are others now.

    Attributes:
        version: The version of those weights.
    """

    def __init__(self, model: Model, tensors: Tensors, version: int) -> None:
        self._model: Final = model
        self._tensors: Final[dict[str, torch.Tensor]] = {}
        self.note(tensors, version)

    def note(self, tensors: Tensors, version: int) -> None:
        """Take weights for what the server has."""
        self._tensors.update({name: tensor.detach().clone() for name, tensor in tensors.items()})
        self.version = version

    def sync(self, tensors: Tensors) -> int:
        """Send the weights that the server has otherwise, not to its disk, and return the version.

        Raises:
            AbortedError: There are such, and the model is at another version than it was left at.
        """
        changed = {name: tensor for name, tensor in tensors.items() if not _are_same(tensor, self._tensors[name])}
        if changed:
            loaded = self._model.load_state_dict(changed, keys=list(changed), if_version=self.version, durable=False)
            self.note(changed, loaded.version)
        return self.version


@contextmanager
def unchanged_by_others(name: str) -> Iterator[None]:
    """Say what it means if, inside the block, a model is at another version than this process left it at.

    Raises:
        AbortedError: It is, and was to be changed.
        FailedPreconditionError: It is, and was to compute.
    """
    try:
        yield
    except (AbortedError, FailedPreconditionError) as error:
        if error.reason != "VERSION_MISMATCH":
            raise
        message = (
            f"somebody else has changed the weights of {name!r} on the server ({error}): pull() takes theirs, "
            "push(force=True) puts this module's in their place"
        )
        raise type(error)(message, reason=error.reason, metadata=error.metadata, call_id=error.call_id) from error


def _are_same(tensor: torch.Tensor, other: torch.Tensor) -> bool:
    if (tensor.device, tensor.dtype, tensor.shape) != (other.device, other.dtype, other.shape):
        return False
    return torch.equal(_bits(tensor), _bits(other))


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().contiguous().view(_BITS[tensor.element_size()])
