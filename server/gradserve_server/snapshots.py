"""Checkpoints of a model: saved, listed, deleted, and made the live weights again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from gradserve_server.checkpoints.manifest import Checkpoint
from gradserve_server.checkpoints.names import check_name
from gradserve_server.engine.state import state_dict
from gradserve_server.errors import FailedPrecondition, InvalidArgument
from gradserve_server.facts import ChangeFact
from gradserve_server.hosted import HostedModel
from gradserve_server.registry import Registry


async def save(
    registry: Registry, model: str, name: str, metadata: Mapping[str, str], if_version: int | None
) -> Checkpoint:
    """Keep a model's live weights under a name.

    Raises:
        ServiceError: If there is no such model, it is at another version, or the name is taken or refused.
    """
    check_name(name, "checkpoint")
    return await registry.to_the_end(_save(registry, model, name, metadata, if_version))


async def _save(
    registry: Registry, model: str, name: str, metadata: Mapping[str, str], if_version: int | None
) -> Checkpoint:
    async with registry.writing(model, if_version, field_path="model") as (_, hosted):
        hosted.check_serving()
        weights = await hosted.device.run(state_dict, hosted.model)
        checkpoint = await asyncio.to_thread(registry.archive.save_checkpoint, hosted, name, weights, metadata)
        _tell(registry, "save_checkpoint", hosted, hosted, name)
    return checkpoint


async def load(registry: Registry, model: str, name: str, if_version: int | None) -> HostedModel:
    """Make the weights of a checkpoint the live ones, under a new version.

    Raises:
        ServiceError: If there is no such model or checkpoint, its file is damaged, or it is of another architecture.
    """
    check_name(name, "checkpoint")
    return await registry.to_the_end(_load(registry, model, name, if_version))


async def _load(registry: Registry, model: str, name: str, if_version: int | None) -> HostedModel:
    async with registry.writing(model, if_version, field_path="model") as (slot, old):
        checkpoint = registry.archive.checkpoint(model, name)
        if checkpoint.layers != old.model.blueprint.architecture.layers:
            message = f"checkpoint {name!r} is of another architecture than {model} now has"
            raise FailedPrecondition(message, field="checkpoint", reason="OTHER_ARCHITECTURE")
        arrived = await asyncio.to_thread(registry.archive.read, old, checkpoint.weights)
        new = await registry.with_weights(slot, old, arrived)
        kept = await registry.keep(new, new_weights=True)
        registry.publish(slot, kept)
        _tell(registry, "load_checkpoint", old, kept, name)
    return kept


async def delete(registry: Registry, model: str, name: str) -> None:
    """Delete a checkpoint of a model; the live weights stay.

    Raises:
        ServiceError: If there is no such model or checkpoint.
    """
    check_name(name, "checkpoint")
    await registry.to_the_end(_delete(registry, model, name))


async def _delete(registry: Registry, model: str, name: str) -> None:
    async with registry.writing(model, field_path="model") as (_, hosted):
        await asyncio.to_thread(registry.archive.delete_checkpoint, hosted, name)
        _tell(registry, "delete_checkpoint", hosted, hosted, name)


def _tell(registry: Registry, operation: str, old: HostedModel, new: HostedModel, checkpoint: str) -> None:
    registry.instruments.model_changed(ChangeFact(new.name, operation, old.version, new.version, checkpoint))


def page(registry: Registry, model: str, after: str, count: int) -> list[Checkpoint]:
    """The checkpoints of a model, the newest first: so many of those that come after one.

    Raises:
        ServiceError: If there is no such model, or `after` is not one of its checkpoints.
    """
    registry.get(model, field_path="model")
    newest_first = list(reversed(registry.archive.manifest(model).checkpoints))
    names = [checkpoint.name for checkpoint in newest_first]
    if after and after not in names:
        raise InvalidArgument("is not of this list, or no longer", field="page_token")
    start = names.index(after) + 1 if after else 0
    return newest_first[start : start + count]
