"""Loading a state_dict into a model: checked whole, then swapped in at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gradserve_server.checkpoints.draft import Draft
from gradserve_server.checkpoints.manifest import AcceptedLoad
from gradserve_server.engine.intake import Arrived, Intake, LoadOptions
from gradserve_server.errors import Aborted
from gradserve_server.facts import ChangeFact
from gradserve_server.hosted import HostedModel
from gradserve_server.registry import Registry


@dataclass(frozen=True)
class Upload:
    """What a LoadStateDict asks for, beside its bytes.

    Attributes:
        total_bytes: How many those are.
        options: How they are loaded.
        if_version: The version that the model must be at; None for any.
        durable: Whether the weights are kept before the reply.
        request_id: Makes a retry safe; empty for none.
    """

    total_bytes: int
    options: LoadOptions
    if_version: int | None = None
    durable: bool = True
    request_id: str = ""


@asynccontextmanager
async def uploading(registry: Registry, name: str, upload: Upload) -> AsyncIterator[Incoming]:
    """Take the one place for an upload to a model. What was not loaded at the end of the block leaves nothing.

    Raises:
        ServiceError: If there is no such model, or it is at another version than expected.
    """
    async with registry.slot(name, field_path="model").upload:
        base = registry.get(name, field_path="model")
        # A retry was answered at the version that it expected; whether it is one, its last byte will tell.
        if upload.request_id not in registry.slot(name).answers:
            base.check_write(upload.if_version)
        incoming = Incoming(registry, base, upload)
        try:
            yield incoming
        finally:
            await incoming.close()


class Incoming:
    """A state_dict on its way in: laid into new tensors, and written to disk as it comes if it can be kept as it is.

    Belongs to one event loop. One thread takes all the chunks, so that each step waits for the one before.
    """

    def __init__(self, registry: Registry, base: HostedModel, upload: Upload) -> None:
        self._registry = registry
        self._base = base
        self._upload = upload
        self._intake = Intake(base.model, upload.total_bytes, upload.options)
        self._draft = registry.archive.draft(base.name) if upload.durable else None
        self._thread = ThreadPoolExecutor(1, "gradserve-upload")
        self._taken: Future[object] = self._thread.submit(int)

    async def feed(self, chunks: Sequence[bytes]) -> None:
        """Take the next chunks, beside the event loop, once those before are done.

        Raises:
            ServiceError: If there was anything wrong with those before, or the disk refused them.
        """
        await asyncio.wrap_future(self._taken)
        self._taken = self._thread.submit(self._take, chunks)

    async def load(self, sha256: bytes) -> AcceptedLoad:
        """Put a model with the new weights in the place of the one that they were checked against.

        Args:
            sha256: Of all chunks, as their sender says.

        Raises:
            ServiceError: If the bytes are not whole; if the model is no longer there, is at another version than
                expected, or has become one that they were not checked against; if the request's id stands for another
                request; or if the disk refuses them.
        """
        await asyncio.wrap_future(self._taken)
        arrived = self._intake.finish(sha256)
        # The load goes on to its end though its caller goes away, and so the draft's end is no longer that of the call.
        draft, self._draft = self._draft, None
        return await self._registry.to_the_end(self._load(arrived, draft))

    async def close(self) -> None:
        """Forget what was not loaded."""
        closed = self._thread.submit(self._give_up)
        self._thread.shutdown(wait=False)
        await asyncio.wrap_future(closed)

    def _take(self, chunks: Sequence[bytes]) -> None:
        for chunk in chunks:
            self._intake.feed(chunk)
            if not self._intake.is_whole:
                self._give_up()
            if self._draft is not None:
                self._draft.write(chunk)

    def _give_up(self) -> None:
        draft, self._draft = self._draft, None
        if draft is not None:
            draft.discard()

    async def _load(self, arrived: Arrived, draft: Draft | None) -> AcceptedLoad:
        if draft is None:
            return await self._swap(arrived, None)
        try:
            await asyncio.to_thread(draft.finish, arrived.sha256)
            return await self._swap(arrived, draft)
        finally:
            await asyncio.to_thread(draft.discard)

    async def _swap(self, arrived: Arrived, draft: Draft | None) -> AcceptedLoad:
        registry, base, upload = self._registry, self._base, self._upload
        async with registry.writing(base.name) as (slot, old):
            if (told := slot.answers.given(upload.request_id, arrived.sha256)) is not None:
                return told
            old.check_write(upload.if_version)
            if (old.create_time, old.model.dtype) != (base.create_time, base.model.dtype):
                raise Aborted(f"{base.name} was changed while its weights arrived", reason="MODEL_CHANGED")
            if old.failure is not None and len(arrived.tensors) < len(old.model.module.state_dict()):
                raise old.failure
            new = await registry.with_weights(slot, old, arrived)
            accepted = _accepted(upload.request_id, new.version, arrived)
            if upload.durable:
                load = accepted if upload.request_id else None
                new = await registry.keep(new, new_weights=True, accepted=load, draft=draft)
            else:
                await asyncio.to_thread(registry.archive.reserve, new)
            slot.answers.remember(accepted)
            registry.publish(slot, new)
            registry.instruments.model_changed(ChangeFact(base.name, "load_state_dict", old.version, new.version))
        return accepted


def _accepted(request_id: str, version: int, arrived: Arrived) -> AcceptedLoad:
    return AcceptedLoad(
        request_id=request_id,
        sha256=arrived.sha256,
        version=version,
        missing_keys=arrived.plan.missing_keys,
        unexpected_keys=arrived.plan.unexpected_keys,
    )
