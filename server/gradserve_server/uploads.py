"""Loading a state_dict into a model: checked whole, then swapped in at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gradserve_server.checkpoints.manifest import AcceptedLoad
from gradserve_server.engine.intake import Arrived, LoadOptions
from gradserve_server.errors import Aborted
from gradserve_server.hosted import HostedModel
from gradserve_server.registry import Registry


@dataclass(frozen=True)
class Upload:
    """What a LoadStateDict asks for, beside its bytes.

    Attributes:
        options: How they are loaded.
        if_version: The version that the model must be at; None for any.
        durable: Whether the weights are kept before the reply.
        request_id: Makes a retry safe; empty for none.
    """

    options: LoadOptions
    if_version: int | None = None
    durable: bool = True
    request_id: str = ""


@asynccontextmanager
async def uploading(registry: Registry, name: str, upload: Upload) -> AsyncIterator[HostedModel]:
    """Take the one place for an upload to a model, and give the model that is there then.

    Raises:
        ServiceError: If there is no such model, or it is at another version than expected.
    """
    async with registry.slot(name, field_path="model").upload:
        base = registry.get(name, field_path="model")
        # A retry was answered at the version that it expected; whether it is one, its last byte will tell.
        if upload.request_id not in registry.slot(name).answers:
            base.check_write(upload.if_version)
        yield base


async def load(registry: Registry, base: HostedModel, arrived: Arrived, upload: Upload) -> AcceptedLoad:
    """Put a model with new weights in the place of one.

    Args:
        registry: Where the model is.
        base: The model that the weights were checked against.
        arrived: The weights.
        upload: What the request said.

    Raises:
        ServiceError: If the model is no longer there, is at another version than expected, or has become one that the
            weights were not checked against; or if the request's id stands for another request.
    """
    return await registry.to_the_end(_load(registry, base, arrived, upload))


async def _load(registry: Registry, base: HostedModel, arrived: Arrived, upload: Upload) -> AcceptedLoad:
    async with registry.writing(base.name) as (slot, old):
        if (told := slot.answers.given(upload.request_id, arrived.sha256)) is not None:
            return told
        old.check_write(upload.if_version)
        if (old.create_time, old.model.dtype) != (base.create_time, base.model.dtype):
            raise Aborted(f"{base.name} was changed while its weights arrived", reason="MODEL_CHANGED")
        if old.failure is not None and len(arrived.tensors) < len(old.model.module.state_dict()):
            raise old.failure
        new = await registry.with_weights(slot, old, arrived)
        accepted = AcceptedLoad(
            request_id=upload.request_id,
            sha256=arrived.sha256,
            version=new.version,
            missing_keys=arrived.plan.missing_keys,
            unexpected_keys=arrived.plan.unexpected_keys,
        )
        if upload.durable:
            new = await registry.keep(new, new_weights=True, accepted=accepted if upload.request_id else None)
        else:
            await asyncio.to_thread(registry.archive.reserve, new)
        slot.answers.remember(accepted)
        registry.publish(slot, new)
    return accepted
