"""A state_dict on its way in: checked against a model as soon as its head is there, laid into new tensors byte by byte.

The model itself is not touched, and beside the new weights nothing grows: tensors that the model does not take are
passed over as they come.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gradserve_server.engine.model import Model
from gradserve_server.engine.state import bytes_of, select_keys, state_dict
from gradserve_server.engine.tensors import dtype_name
from gradserve_server.errors import DataLoss, InvalidArgument
from gradserve_server.safetensors_layout import LENGTH_BYTES, Layout, TensorEntry, head_bytes, read_layout

_LISTED = 10


@dataclass(frozen=True)
class LoadOptions:
    """How a state_dict is loaded.

    Attributes:
        strict: Whether missing and unexpected keys refuse it, as torch's `strict`.
        keys: Globs over the model's keys; empty for all.
        cast: Whether another floating dtype is converted to the model's.
    """

    strict: bool = True
    keys: tuple[str, ...] = ()
    cast: bool = False


@dataclass(frozen=True)
class LoadPlan:
    """What is taken from a file.

    Attributes:
        loaded: The keys that are taken from it.
        missing_keys: Keys that are wanted and not in the file.
        unexpected_keys: Keys of the file that the model does not have.
    """

    loaded: frozenset[str]
    missing_keys: tuple[str, ...]
    unexpected_keys: tuple[str, ...]


@dataclass(frozen=True)
class Arrived:
    """What a whole file brought.

    Attributes:
        tensors: The new weights by key, on the CPU in the model's dtype.
        plan: What was taken from the file.
        sha256: Of the file.
        is_whole: Whether it is, byte by byte, the file that `state_dict` makes of a model with these weights.
    """

    tensors: Mapping[str, Tensor]
    plan: LoadPlan
    sha256: bytes
    is_whole: bool

    @property
    def state_sha256(self) -> bytes | None:
        """Of the state_dict that the model has with these weights, if this is it."""
        return self.sha256 if self.is_whole else None


class Intake:
    """One file, from its first byte to its last.

    Args:
        model: Whose weights it replaces.
        total_bytes: The size of the file.
        options: How it is loaded.
    """

    def __init__(self, model: Model, total_bytes: int, options: LoadOptions) -> None:
        self._model = model
        self._options = options
        self._total = total_bytes
        self._taken = 0
        self._digest = hashlib.sha256()
        self._head = bytearray()
        self._plan: LoadPlan | None = None
        self._is_whole = True
        self._tensors: dict[str, Tensor] = {}
        self._targets: list[_Target] = []

    @property
    def is_whole(self) -> bool:
        """As `Arrived.is_whole`; true until the head is there and tells otherwise."""
        return self._is_whole

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the file.

        Raises:
            InvalidArgument: If they are more than were announced, or the file's head does not fit the model.
        """
        self._taken += len(chunk)
        if self._taken > self._total:
            raise InvalidArgument(f"more than the announced {self._total} bytes arrived", field="chunk")
        self._digest.update(chunk)
        data = memoryview(chunk)
        if self._plan is None:
            data = self._read_head(data)
        while self._targets and (data or self._targets[-1].is_full):
            data = self._targets[-1].fill(data)
            if not self._targets[-1].is_full:
                break
            self._targets.pop()

    def finish(self, sha256: bytes) -> Arrived:
        """What the file brought, once all of it is there.

        Raises:
            InvalidArgument: If bytes are missing.
            DataLoss: If the bytes that arrived are not those that were sent.
        """
        if self._taken != self._total or self._plan is None:
            raise InvalidArgument(f"{self._taken} of the announced {self._total} bytes arrived", field="total_bytes")
        if self._digest.digest() != sha256:
            raise DataLoss("the bytes that arrived do not have this checksum", field="trailer.sha256")
        return Arrived(self._tensors, self._plan, sha256, self._is_whole)

    def _read_head(self, data: memoryview) -> memoryview:
        """Take what belongs to the head, and give back the rest."""
        for wanted in (LENGTH_BYTES, None):
            size = min(self._total, LENGTH_BYTES) if wanted else head_bytes(bytes(self._head), self._total)
            part = data[: max(0, size - len(self._head))]
            self._head += part
            data = data[len(part) :]
            if len(self._head) < size:
                return data
        layout = read_layout(bytes(self._head), self._total)
        self._plan = plan = plan_load(self._model, layout, self._options)
        # The same head means the same tensors at the same places, and one that is not taken leaves one that stays.
        self._is_whole = len(plan.loaded) == len(layout.entries) and self._head == state_dict(self._model).header
        self._targets = [self._target(entry, plan) for entry in reversed(layout.entries)]
        return data

    def _target(self, entry: TensorEntry, plan: LoadPlan) -> _Target:
        if entry.name not in plan.loaded:
            return _Target(entry, None)
        like = self._model.module.state_dict()[entry.name]
        self._tensors[entry.name] = torch.empty(like.shape, dtype=like.dtype)
        return _Target(entry, self._tensors[entry.name])


def plan_load(model: Model, layout: Layout, options: LoadOptions) -> LoadPlan:
    """Hold a file's tensors against a model's.

    Raises:
        InvalidArgument: If keys, shapes or dtypes do not fit; names the first ten.
    """
    state = model.module.state_dict()
    sent = {entry.name: entry for entry in layout.entries}
    wanted = select_keys(options.keys, list(state))
    missing = tuple(key for key in wanted if key not in sent)
    unexpected = tuple(key for key in sent if key not in state)
    if options.strict and (missing or unexpected):
        both = (("missing", missing), ("unexpected", unexpected))
        message = "; ".join(f"{what} keys: {_listed(keys)}" for what, keys in both if keys)
        raise InvalidArgument(message, field="chunk", reason="STATE_DICT_KEYS")
    loaded = [key for key in wanted if key in sent]
    misfits = [_misfit(sent[key], state[key], cast=options.cast) for key in loaded]
    if problems := [problem for problem in misfits if problem]:
        raise InvalidArgument(_listed(problems), field="chunk", reason="STATE_DICT_MISMATCH")
    return LoadPlan(frozenset(loaded), missing, unexpected)


def _misfit(sent: TensorEntry, own: Tensor, *, cast: bool) -> str:
    key = sent.name
    if sent.shape != tuple(own.shape):
        return f"{key} has shape {list(sent.shape)}, the model's has {list(own.shape)}"
    if sent.dtype == dtype_name(own.dtype):
        return ""
    convertible = own.is_floating_point() and _torch_dtype(sent).is_floating_point
    if convertible and cast:
        return ""
    return f"{key} is {sent.dtype}, the model's is {dtype_name(own.dtype)}{': ask for a cast' if convertible else ''}"


def _listed(items: Sequence[str]) -> str:
    more = f", and {len(items) - _LISTED} more" if len(items) > _LISTED else ""
    return ", ".join(items[:_LISTED]) + more


def _torch_dtype(entry: TensorEntry) -> torch.dtype:
    dtype: torch.dtype = getattr(torch, entry.dtype)
    return dtype


class _Target:
    """Where the bytes of one tensor of a file go: into a tensor, converted if need be, or nowhere."""

    def __init__(self, entry: TensorEntry, tensor: Tensor | None) -> None:
        self._left = entry.end - entry.begin
        self._source = _torch_dtype(entry)
        self._tensor = tensor
        self._filled = 0
        # The bytes of an element that a chunk has cut; only a conversion needs elements whole.
        self._cut = b""

    @property
    def is_full(self) -> bool:
        """Whether all of the tensor has come."""
        return not self._left

    def fill(self, data: memoryview) -> memoryview:
        """Take what belongs here, and give back the rest."""
        mine, rest = data[: self._left], data[self._left :]
        self._left -= len(mine)
        if self._tensor is not None and mine:
            if self._tensor.dtype == self._source:
                room = bytes_of(self._tensor)[self._filled : self._filled + len(mine)]
                # Unlike an assignment this lets other threads go on, also while the memory's pages are made.
                np.copyto(np.frombuffer(room, np.uint8), np.frombuffer(mine, np.uint8))
                self._filled += len(mine)
            else:
                self._convert(mine, self._tensor.view(-1))
        return rest

    def _convert(self, mine: memoryview, elements: Tensor) -> None:
        joined = bytearray(self._cut) + mine
        whole = len(joined) // self._source.itemsize
        self._cut = bytes(joined[whole * self._source.itemsize :])
        if whole:
            values = torch.frombuffer(joined, dtype=self._source, count=whole)
            elements[self._filled : self._filled + whole] = values
            self._filled += whole
