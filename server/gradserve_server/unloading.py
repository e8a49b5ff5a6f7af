"""A model that is there and not served: taken out of service, and put back with the weights that are kept."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from gradserve_server.errors import Unavailable
from gradserve_server.facts import ChangeFact
from gradserve_server.hosted import HostedModel
from gradserve_server.registry import Registry


async def unload(registry: Registry, model: str) -> None:
    """Serve a model no more, until it is loaded or gets new weights. Requests that it has let in are answered.

    Raises:
        ServiceError: If there is no such model.
    """
    await registry.to_the_end(_unload(registry, model))


async def _unload(registry: Registry, model: str) -> None:
    async with registry.writing(model, field_path="model") as (slot, old):
        unloaded = Unavailable(f"{model} was unloaded", reason="UNLOADED")
        registry.publish(slot, replace(old, failure=unloaded))
        _tell(registry, "repository_model_unload", old, old)


async def reload(registry: Registry, model: str) -> HostedModel:
    """Read the weights of a model that are kept, and serve them under a new version.

    Where nothing is kept on disk, the weights are those that it has, and so is the version.

    Raises:
        ServiceError: If there is no such model, or what is kept of it is damaged.
    """
    return await registry.to_the_end(_reload(registry, model))


async def _reload(registry: Registry, model: str) -> HostedModel:
    async with registry.writing(model, field_path="model") as (slot, old):
        kept = registry.archive.manifest(model).model
        if kept is None:
            new = replace(old, failure=None)
        else:
            arrived = await asyncio.to_thread(registry.archive.read, old, kept.weights)
            new = await registry.keep(await registry.with_weights(slot, old, arrived), new_weights=True)
        registry.publish(slot, new)
        _tell(registry, "repository_model_load", old, new)
    return new


def _tell(registry: Registry, operation: str, old: HostedModel, new: HostedModel) -> None:
    registry.instruments.model_changed(ChangeFact(new.name, operation, old.version, new.version))
