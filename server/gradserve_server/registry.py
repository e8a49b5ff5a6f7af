"""The models by name: created, changed and deleted, one writer at a time each, while requests go on."""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from gradserve_server.architecture import Architecture
from gradserve_server.changes import Changes
from gradserve_server.config import Limits
from gradserve_server.engine.building import build, load, move
from gradserve_server.engine.device import Devices
from gradserve_server.engine.global_state import new_seed
from gradserve_server.engine.warm_up import warm_up
from gradserve_server.errors import AlreadyExists, InvalidArgument, NotFound, ResourceExhausted
from gradserve_server.hosted import HostedModel
from gradserve_server.selection import updated_flags

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")
_RESERVED_SUFFIX = ".gradient"


@dataclass(frozen=True)
class NewModel:
    """A model to create.

    Attributes:
        name: What requests will call it.
        architecture: Its layers.
        dtype: Of its parameters: a floating one.
        device: As `Devices.resolve` takes it.
        seed: What its weights are drawn from; None to have one drawn.
        weights: A safetensors file of its weights instead; None for those of the seed.
    """

    name: str
    architecture: Architecture
    dtype: str = "float32"
    device: str = "auto"
    seed: int | None = None
    weights: bytes | None = None


@dataclass(frozen=True)
class ModelUpdate:
    """What to change about a model; None leaves it.

    Attributes:
        device: As `Devices.resolve` takes it.
        dtype: A floating one.
        requires_grad: Globs over the parameters and their new flags; a later one wins.
    """

    device: str | None = None
    dtype: str | None = None
    requires_grad: Sequence[tuple[str, bool]] = ()


@dataclass
class _Slot:
    """A taken name. `hosted` is None while its model is being made."""

    hosted: HostedModel | None = None
    writer: asyncio.Lock = field(default_factory=asyncio.Lock)


class Registry:
    """Every model of one server. Belongs to one event loop; what takes long runs on other threads.

    It does not compute, and knows neither the wire nor health: it announces that something changed.
    """

    def __init__(self, devices: Devices, limits: Limits, changes: Changes) -> None:
        self.devices = devices
        self.limits = limits
        self._changes = changes
        self._slots: dict[str, _Slot] = {}
        self._last_versions: dict[str, int] = {}

    def __contains__(self, name: str) -> bool:
        """Whether a model of that name answers requests."""
        slot = self._slots.get(name)
        return slot is not None and slot.hosted is not None

    def get(self, name: str, *, field_path: str = "name") -> HostedModel:
        """The model of a name.

        Raises:
            InvalidArgument: If no model can have that name.
            NotFound: If none has it.
        """
        if (slot := self._slots.get(name)) is None or slot.hosted is None:
            check_name(name, field_path)
            raise NotFound(f"there is no model {name!r}", field=field_path, reason="MODEL_NOT_FOUND")
        return slot.hosted

    def models(self, after: str = "", count: int | None = None) -> list[HostedModel]:
        """The models whose names come after one, by name, and at most so many."""
        names = sorted(name for name, slot in self._slots.items() if slot.hosted)
        start = bisect_right(names, after)
        chosen = names[start:] if count is None else names[start : start + count]
        return [self.get(name) for name in chosen]

    async def create(self, new: NewModel) -> HostedModel:
        """Build a model, warm it up, and only then let requests see it.

        Raises:
            ServiceError: If the name is taken or anything about the model is refused; nothing is left behind.
        """
        check_name(new.name, "name")
        device = self.devices.resolve(new.device)
        seed = new_seed() if new.seed is None else new.seed
        with self._reserved(new.name) as slot:
            model = await asyncio.to_thread(build, new.architecture, seed, new.dtype, device, self.limits)
            if new.weights is not None:
                model = await device.run(load, model, new.weights)
            operations = await device.run(warm_up, model)
            version = self._last_versions.get(new.name, 0) + 1
            told_seed = None if new.weights is not None else seed
            slot.hosted = HostedModel(new.name, version, model, device, operations, datetime.now(UTC), told_seed)
        self._changes.announce()
        return slot.hosted

    async def update(self, name: str, update: ModelUpdate, if_version: int | None = None) -> HostedModel:
        """Put a changed model in the place of one; the version goes up if its dtype has changed.

        Raises:
            ServiceError: If there is no such model, it is at another version, or the change is refused.
        """
        async with self._writing(name, if_version) as (slot, old):
            device = old.device if update.device is None else self.devices.resolve(update.device)
            dtype = update.dtype or old.model.dtype_name
            flags = updated_flags(update.requires_grad, old.model.requires_grad)
            model = await asyncio.to_thread(move, old.model, device, dtype, flags)
            operations = await device.run(warm_up, model)
            version = old.version + (dtype != old.model.dtype_name)
            slot.hosted = replace(old, model=model, device=device, version=version, operations=operations)
        self._changes.announce()
        return slot.hosted

    async def delete(self, name: str, if_version: int | None = None) -> HostedModel:
        """Take a model out; requests that hold it finish. Its name remembers its last version.

        Raises:
            ServiceError: If there is no such model or it is at another version.
        """
        async with self._writing(name, if_version) as (_, old):
            self._last_versions[name] = old.version
            del self._slots[name]
        self._changes.announce()
        return old

    @contextmanager
    def _reserved(self, name: str) -> Iterator[_Slot]:
        if name in self._slots:
            raise AlreadyExists(f"there is a model {name!r} already", field="name", reason="MODEL_EXISTS")
        if len(self._slots) >= self.limits.max_models:
            message = f"the server has {len(self._slots)} models; it allows {self.limits.max_models}"
            raise ResourceExhausted(message, reason="TOO_MANY_MODELS")
        slot = self._slots[name] = _Slot()
        try:
            yield slot
        finally:
            if slot.hosted is None:
                del self._slots[name]

    @asynccontextmanager
    async def _writing(self, name: str, if_version: int | None) -> AsyncIterator[tuple[_Slot, HostedModel]]:
        while True:
            self.get(name)
            slot = self._slots[name]
            async with slot.writer:
                # While this writer waited, another may have deleted the model, and a third made one of that name.
                if self._slots.get(name) is slot:
                    hosted = self.get(name)
                    hosted.check_write(if_version)
                    yield slot, hosted
                    return


def check_name(name: str, field_path: str) -> None:
    """Check that a model can have a name.

    Raises:
        InvalidArgument: If it cannot.
    """
    if not name:
        raise InvalidArgument("required", field=field_path, reason="INVALID_NAME")
    if not _NAME.fullmatch(name):
        message = f"must match {_NAME.pattern}, got {name[:200]!r}"
        raise InvalidArgument(message, field=field_path, reason="INVALID_NAME")
    if name.endswith(_RESERVED_SUFFIX):
        message = f"must not end in {_RESERVED_SUFFIX}, which is reserved"
        raise InvalidArgument(message, field=field_path, reason="INVALID_NAME")
