"""What a scrape reads off the server: the state that is there, and need not be counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gradserve_server.facts import QueueState
from gradserve_server.hosted import HostedModel
from gradserve_server.lifecycle import Lifecycle, Phase
from gradserve_server.registry import Registry


@dataclass(frozen=True)
class ModelReading:
    """One model at one moment.

    Attributes:
        name: What requests call it.
        device: Where it is.
        dtype: Of its weights.
        ready: Whether it is served, as grpc.health.v1 tells it.
        trainable_parameters: Elements of its parameters that require grad.
        frozen_parameters: Elements of its parameters that do not.
        version: Of its weights.
        version_timestamp: When they were accepted, in seconds since 1970.
        checkpoint_bytes: Of its checkpoints' files; None where nothing is kept on disk.
        queue: What waits for it; None where nothing can.
    """

    name: str
    device: str
    dtype: str
    ready: bool
    trainable_parameters: int
    frozen_parameters: int
    version: int
    version_timestamp: float
    checkpoint_bytes: int | None
    queue: QueueState | None = None


@dataclass(frozen=True)
class Reading:
    """The server at one moment.

    Attributes:
        models: Its models, by name.
        damaged: The names of those that cannot be read, and so are not served.
        memory: The bytes of each device's memory, by the device's name and their kind.
    """

    models: tuple[ModelReading, ...]
    damaged: tuple[str, ...]
    memory: Mapping[str, Mapping[str, int]]


class Readings:
    """Reads the registry, the lifecycle and the devices; keeps nothing that could differ from them."""

    def __init__(self, registry: Registry, lifecycle: Lifecycle) -> None:
        self._registry = registry
        self._lifecycle = lifecycle

    def now(self) -> Reading:
        """The server as it is; to be called on the event loop's thread."""
        known = self._registry.models()
        return Reading(
            models=tuple(self._model(model) for model in known if isinstance(model, HostedModel)),
            damaged=tuple(model.name for model in known if not isinstance(model, HostedModel)),
            memory={device.name: device.memory() for device in self._registry.devices.all()},
        )

    def _model(self, hosted: HostedModel) -> ModelReading:
        return ModelReading(
            name=hosted.name,
            device=hosted.device.name,
            dtype=hosted.model.dtype_name,
            ready=self._lifecycle.phase is Phase.SERVING and hosted.failure is None,
            trainable_parameters=hosted.model.trainable_parameters,
            frozen_parameters=hosted.model.total_parameters - hosted.model.trainable_parameters,
            version=hosted.version,
            version_timestamp=hosted.version_time.timestamp(),
            checkpoint_bytes=self._checkpoint_bytes(hosted.name),
            queue=None if (batcher := self._registry.slot(hosted.name).batcher) is None else batcher.waiting,
        )

    def _checkpoint_bytes(self, model: str) -> int | None:
        archive = self._registry.archive
        if not archive.is_durable:
            return None
        # Checkpoints of one version share a file.
        files = {checkpoint.weights.file: checkpoint.weights for checkpoint in archive.manifest(model).checkpoints}
        return sum(file.size_bytes for file in files.values())
