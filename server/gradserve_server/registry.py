"""The models by name: created, changed and deleted, one writer at a time each, while requests go on."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from gradserve_server.archive import Archive
from gradserve_server.changes import Changes
from gradserve_server.checkpoints.draft import Draft
from gradserve_server.checkpoints.manifest import AcceptedLoad
from gradserve_server.config import Limits
from gradserve_server.definitions import ModelUpdate, NewModel
from gradserve_server.engine.building import build, load, move
from gradserve_server.engine.capabilities.warm_up import warm_up
from gradserve_server.engine.device import Device, Devices
from gradserve_server.engine.global_state import new_seed
from gradserve_server.engine.intake import Arrived
from gradserve_server.engine.model import Model
from gradserve_server.engine.state import StateDict, state_dict
from gradserve_server.errors import AlreadyExists, NotFound, ResourceExhausted
from gradserve_server.facts import ChangeFact, Instruments
from gradserve_server.hosted import AnyModel, DamagedModel, HostedModel, check_name
from gradserve_server.selection import updated_flags
from gradserve_server.slot import Slot

_T = TypeVar("_T")


class Registry:
    """Every model of one server. Belongs to one event loop; what takes long runs on other threads.

    It does not compute, and knows neither the wire nor health: it announces that something changed. A change is kept
    in the archive first, then seen by requests, then told to who asked for it. Who asks and then goes away does not
    stop it in the middle.
    """

    def __init__(
        self, devices: Devices, limits: Limits, archive: Archive, changes: Changes, instruments: Instruments
    ) -> None:
        self.devices = devices
        self.limits = limits
        self.archive = archive
        self._changes = changes
        self.instruments = instruments
        self._slots: dict[str, Slot] = {}
        self._unfinished: set[asyncio.Task[Any]] = set()

    def __contains__(self, name: str) -> bool:
        """Whether there is a model of that name."""
        slot = self._slots.get(name)
        return slot is not None and slot.model is not None

    def get(self, name: str, *, field_path: str = "name") -> HostedModel:
        """The model of a name.

        Raises:
            ServiceError: As `find`.
            DataLoss: If it can only be deleted.
        """
        model = self.find(name, field_path=field_path)
        if isinstance(model, DamagedModel):
            raise model.failure
        return model

    def find(self, name: str, *, field_path: str = "name") -> AnyModel:
        """The model of a name, also if it can only be deleted.

        Raises:
            InvalidArgument: If no model can have that name.
            NotFound: If none has it.
        """
        if (model := self.slot(name, field_path=field_path).model) is None:
            raise _not_found(name, field_path)
        return model

    def slot(self, name: str, *, field_path: str = "name") -> Slot:
        """The slot of a name, whose model may still be in the making.

        Raises:
            ServiceError: As `find`.
        """
        if (slot := self._slots.get(name)) is None:
            check_name(name, field_path)
            raise _not_found(name, field_path)
        return slot

    def models(self, chosen: Callable[[str], bool] = bool, after: str = "", count: int | None = None) -> list[AnyModel]:
        """The models of chosen names that come after one, by name, and at most so many."""
        known = sorted(name for name, slot in self._slots.items() if slot.model and chosen(name))
        return [self.find(name) for name in known[bisect_right(known, after) :][:count]]

    def restore(self, name: str, slot: Slot) -> None:
        """Take a model that was kept, as the server starts."""
        self._slots[name] = slot
        self.instruments.model_created(name)
        self._changes.announce()

    async def create(self, new: NewModel) -> HostedModel:
        """Build a model, warm it up, keep it, and only then let requests see it.

        Raises:
            ServiceError: If the name is taken or anything about the model is refused; nothing is left behind.
        """
        check_name(new.name, "name")
        device = self.devices.resolve(new.device)
        return await self.to_the_end(self._create(new, device))

    async def _create(self, new: NewModel, device: Device) -> HostedModel:
        seed = new_seed() if new.seed is None else new.seed
        with self._reserved(new.name) as slot:
            model = await asyncio.to_thread(build, new.architecture, seed, new.dtype, device, self.limits)
            if new.weights is not None:
                model = await device.run(load, model, new.weights)
            operations = await device.run(warm_up, model)
            version = self.archive.manifest(new.name).last_version + 1
            told_seed = None if new.weights is not None else seed
            now = datetime.now(UTC)
            hosted = HostedModel(new.name, version, model, device, operations, now, now, told_seed)
            slot.hosted = await self.keep(hosted, new_weights=True)
        self.instruments.model_created(new.name)
        self.instruments.model_changed(ChangeFact(new.name, "create_model", 0, version))
        self._changes.announce()
        return slot.hosted

    async def update(self, name: str, update: ModelUpdate, if_version: int | None = None) -> HostedModel:
        """Put a changed model in the place of one; the version goes up if its dtype has changed.

        Raises:
            ServiceError: If there is no such model, it is at another version, or the change is refused.
        """
        return await self.to_the_end(self._update(name, update, if_version))

    async def _update(self, name: str, update: ModelUpdate, if_version: int | None) -> HostedModel:
        async with self.writing(name, if_version) as (slot, old):
            device = self.devices.resolve(old.device.name if update.device is None else update.device)
            dtype = update.dtype or old.model.dtype_name
            flags = await asyncio.to_thread(updated_flags, update.requires_grad, old.model.requires_grad)
            # On the thread that computes with the old one: in training it swaps buffers for copies and back.
            model = await old.device.run(move, await self.weights_of(old, device), device, dtype, flags)
            operations = await device.run(warm_up, model)
            converted = dtype != old.model.dtype_name
            new = replace(old, model=model, device=device, operations=operations, failure=None)
            if converted:
                new = replace(new, version=slot.next_version(old), version_time=datetime.now(UTC))
            slot.hosted = await self.keep(new, new_weights=converted)
        self.instruments.model_changed(ChangeFact(name, "update_model", old.version, new.version))
        self._changes.announce()
        return slot.hosted

    async def delete(self, name: str, if_version: int | None = None) -> int:
        """Take a model out, its checkpoints too; requests that hold it finish. Its name remembers its last version.

        Returns:
            The version that it had; 0 if nobody knows it any more.

        Raises:
            ServiceError: If there is no such model or it is at another version.
        """
        return await self.to_the_end(self._delete(name, if_version))

    async def _delete(self, name: str, if_version: int | None) -> int:
        async with self._locked(name, "name") as slot:
            old = self.find(name)
            old.check_write(if_version)
            version = max(old.version, slot.last_version)
            await asyncio.to_thread(self.archive.delete, name, version)
            del self._slots[name]
            self.instruments.model_deleted(name)
            self.instruments.model_changed(ChangeFact(name, "delete_model", old.version, 0))
        self._changes.announce()
        return old.version

    async def weights_of(self, hosted: HostedModel, device: Device) -> Model:
        """The model itself; or, of one that could not be served, what its kept weights make of it on a device."""
        kept = self.archive.manifest(hosted.name).model
        if hosted.failure is None or kept is None:
            return hosted.model
        arrived = await asyncio.to_thread(self.archive.read, hosted, kept.weights)
        model = hosted.model.on(device.torch_device)
        return await device.run(model.with_weights, arrived.tensors, arrived.state_sha256)

    async def with_weights(self, slot: Slot, old: HostedModel, arrived: Arrived) -> HostedModel:
        """A model with new weights, not yet kept, under its next version.

        Raises:
            FailedPrecondition: If this host does not have its device.
        """
        device = self.devices.resolve(old.device.name)
        model = await device.run(old.model.with_weights, arrived.tensors, arrived.state_sha256)
        operations = old.operations or await device.run(warm_up, model)
        new = replace(old, model=model, device=device, operations=operations, failure=None)
        return replace(new, version=slot.next_version(old), version_time=datetime.now(UTC), unsaved=True)

    async def keep(
        self,
        hosted: HostedModel,
        *,
        new_weights: bool,
        accepted: AcceptedLoad | None = None,
        draft: Draft | None = None,
    ) -> HostedModel:
        """Keep a model as it is about to be; give it as it may then be seen. New weights may be on disk already."""
        weights: StateDict | Draft | None = draft
        if new_weights and draft is None:
            weights = await hosted.device.run(state_dict, hosted.model)
        file = await asyncio.to_thread(self.archive.keep, hosted, weights, accepted)
        model = hosted.model if file is None else replace(hosted.model, sha256=file.sha256)
        unsaved = not self.archive.is_durable or (hosted.unsaved and not new_weights)
        return replace(hosted, model=model, unsaved=unsaved)

    def publish(self, slot: Slot, hosted: HostedModel) -> None:
        """Let requests see a model in the place of the one that was there."""
        slot.hosted = hosted
        self._changes.announce()

    async def settle(self) -> None:
        """Wait until every change under way is done."""
        if self._unfinished:
            await asyncio.wait(self._unfinished)

    async def to_the_end(self, change: Coroutine[Any, Any, _T]) -> _T:
        """Make a change that is not stopped by the caller's going away, as what is on disk would not know of that."""
        task = asyncio.create_task(change)
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)
        return await asyncio.shield(task)

    @contextmanager
    def _reserved(self, name: str) -> Iterator[Slot]:
        if name in self._slots:
            raise AlreadyExists(f"there is a model {name!r} already", field="name", reason="MODEL_EXISTS")
        if len(self._slots) >= self.limits.max_models:
            message = f"the server has {len(self._slots)} models; it allows {self.limits.max_models}"
            raise ResourceExhausted(message, reason="TOO_MANY_MODELS")
        slot = self._slots[name] = Slot()
        try:
            yield slot
        finally:
            if slot.hosted is None:
                del self._slots[name]

    @asynccontextmanager
    async def writing(
        self, name: str, if_version: int | None = None, *, field_path: str = "name"
    ) -> AsyncIterator[tuple[Slot, HostedModel]]:
        """Be the one who changes a model, as it is then.

        Raises:
            ServiceError: If there is no such model or it is at another version.
        """
        async with self._locked(name, field_path) as slot:
            hosted = self.get(name, field_path=field_path)
            hosted.check_write(if_version)
            yield slot, hosted

    @asynccontextmanager
    async def _locked(self, name: str, field_path: str) -> AsyncIterator[Slot]:
        while True:
            slot = self.slot(name, field_path=field_path)
            async with slot.writer:
                # While this writer waited, another may have deleted the model, and a third made one of that name.
                if self._slots.get(name) is slot:
                    yield slot
                    return


def _not_found(name: str, field_path: str) -> NotFound:
    return NotFound(f"there is no model {name!r}", field=field_path, reason="MODEL_NOT_FOUND")
