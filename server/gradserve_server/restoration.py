"""The models that were kept, served again as the server starts. One that cannot be is there and says why."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from gradserve_server.answers import Answers
from gradserve_server.architecture import Architecture
from gradserve_server.checkpoints.manifest import Manifest, StoredModel
from gradserve_server.engine.building import hollow
from gradserve_server.engine.capabilities.warm_up import warm_up
from gradserve_server.errors import DataLoss, ServiceError
from gradserve_server.hosted import DamagedModel, HostedModel
from gradserve_server.registry import Registry
from gradserve_server.slot import Slot

_log = logging.getLogger(__name__)


async def restore(registry: Registry) -> frozenset[str]:
    """Serve what the archive holds.

    Returns:
        The names that something is kept of, deleted models among them.
    """
    names = registry.archive.names()
    for name in names:
        try:
            manifest = registry.archive.manifest(name)
        except DataLoss as damage:
            _log.error("%s is not served: %s", name, damage.text)
            registry.restore(name, Slot(damaged=DamagedModel(name, damage)))
            continue
        if manifest.model is not None:
            hosted = await _restored(registry, name, manifest.model)
            registry.restore(name, _slot(hosted, manifest))
    return frozenset(names)


def _slot(hosted: HostedModel, manifest: Manifest) -> Slot:
    return Slot(hosted, last_version=manifest.last_version, answers=Answers(manifest.loads))


async def _restored(registry: Registry, name: str, stored: StoredModel) -> HostedModel:
    hosted = _hollow(registry, name, stored)
    try:
        device = registry.devices.resolve(stored.device)
        arrived = await asyncio.to_thread(registry.archive.read, hosted, stored.weights)
        model = await device.run(hosted.model.with_weights, arrived.tensors, arrived.state_sha256)
        operations = await device.run(warm_up, model)
    except ServiceError as failure:
        _log.error("%s is not served: %s", name, failure.text)
        return replace(hosted, failure=failure)
    return replace(hosted, model=model, device=device, operations=operations)


def _hollow(registry: Registry, name: str, stored: StoredModel) -> HostedModel:
    device = registry.devices.absent(stored.device)
    architecture = Architecture(stored.layers)
    model = hollow(architecture, stored.dtype, device, stored.requires_grad, registry.limits)
    return HostedModel(name, stored.version, model, device, (), stored.create_time, stored.version_time, stored.seed)
