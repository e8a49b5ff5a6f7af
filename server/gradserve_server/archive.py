"""What outlives the server: how models are kept in the checkpoint store, and taken out again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from gradserve_server.checkpoints.draft import Draft
from gradserve_server.checkpoints.manifest import AcceptedLoad, Checkpoint, Manifest, StoredModel, WeightsFile, retained
from gradserve_server.checkpoints.store import Store
from gradserve_server.engine.intake import Arrived, Intake, LoadOptions
from gradserve_server.engine.state import StateDict
from gradserve_server.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from gradserve_server.hosted import HostedModel

_REMEMBERED_LOADS = 128

# Weights that are not kept have versions too, and none may be told twice, not even after a crash: so many are set
# aside on disk at a time.
_RESERVED_VERSIONS = 1000

_AUTOMATIC = re.compile(r"version-\d+")


class Archive:
    """Keeps models in a store, or, without one, only what a process must remember of them.

    All methods block; those about one model are called with its writer lock held. What they raise is told to the
    caller, and then nothing has changed on disk.
    """

    def __init__(self, store: Store | None, automatic_checkpoints: int) -> None:
        self._store = store
        self._automatic_checkpoints = automatic_checkpoints
        self._remembered: dict[str, Manifest] = {}

    @property
    def is_durable(self) -> bool:
        """Whether anything is kept on disk."""
        return self._store is not None

    def names(self) -> list[str]:
        """Every name that something is kept of, deleted models among them."""
        return [] if self._store is None else self._store.names()

    def manifest(self, name: str) -> Manifest:
        """What is kept of a name; empty if nothing is.

        Raises:
            DataLoss: If it is damaged.
        """
        if self._store is None:
            return self._remembered.get(name, Manifest(last_version=0, model=None))
        try:
            return self._store.manifest(name)
        except NotFound:
            return Manifest(last_version=0, model=None)

    def draft(self, name: str) -> Draft | None:
        """A place for new weights of a model on their way in; None if nothing is kept on disk."""
        return None if self._store is None else self._store.draft(name)

    def keep(
        self, hosted: HostedModel, weights: StateDict | Draft | None = None, load: AcceptedLoad | None = None
    ) -> WeightsFile | None:
        """Keep a model as it is about to be.

        Args:
            hosted: The model.
            weights: Its weights, or the finished draft of them, if they are new; None if those that are kept stand.
            load: The request that brought them, if its answer is to be remembered.

        Returns:
            The file of new weights, if there is one.
        """
        manifest = self.manifest(hosted.name)
        loads = (*manifest.loads, load)[-_REMEMBERED_LOADS:] if load is not None else manifest.loads
        # New weights have a version above all others; without them, one that was set aside stays so.
        last_version = hosted.version if weights is not None else max(manifest.last_version, hosted.version)
        manifest = replace(manifest, last_version=last_version, loads=loads)
        if self._store is None:
            self._remembered[hosted.name] = manifest
            return None
        file = None
        if weights is not None:
            file = _written(self._store, hosted, weights)
            checkpoint = _checkpoint(f"version-{hosted.version}", hosted, file, automatic=True)
            kept = retained((*manifest.checkpoints, checkpoint), self._automatic_checkpoints)
            manifest = replace(manifest, model=_stored(hosted, file), checkpoints=kept)
        elif manifest.model is not None:
            live = manifest.model
            model = replace(_stored(hosted, live.weights), version=live.version, version_time=live.version_time)
            manifest = replace(manifest, model=model)
        self._store.commit(hosted.name, manifest)
        return file

    def reserve(self, hosted: HostedModel) -> None:
        """See to it that the version of a model whose weights are not kept is never told again."""
        manifest = self.manifest(hosted.name)
        if hosted.version > manifest.last_version:
            set_aside = hosted.version if self._store is None else hosted.version + _RESERVED_VERSIONS - 1
            self._commit(hosted.name, replace(manifest, last_version=set_aside))

    def delete(self, name: str, version: int) -> None:
        """Keep of a model only that it was deleted at some version."""
        self._commit(name, Manifest(last_version=version, model=None))

    def save_checkpoint(
        self, hosted: HostedModel, name: str, weights: StateDict, metadata: Mapping[str, str]
    ) -> Checkpoint:
        """Keep a model's weights under a name.

        Raises:
            AlreadyExists: If the name is taken.
            InvalidArgument: If it is one of those that the server gives.
        """
        store, manifest = self._durable(), self.manifest(hosted.name)
        if manifest.checkpoint(name) is not None:
            message = f"{hosted.name} has a checkpoint {name!r} already"
            raise AlreadyExists(message, field="checkpoint", reason="CHECKPOINT_EXISTS")
        if _AUTOMATIC.fullmatch(name):
            message = "version-<n> is what the server calls its own checkpoints"
            raise InvalidArgument(message, field="checkpoint", reason="INVALID_NAME")
        live = manifest.model
        saved = live is not None and live.version == hosted.version
        file = live.weights if live and saved else _written(store, hosted, weights)
        checkpoint = _checkpoint(name, hosted, file, metadata=metadata)
        store.commit(hosted.name, replace(manifest, checkpoints=(*manifest.checkpoints, checkpoint)))
        return checkpoint

    def delete_checkpoint(self, hosted: HostedModel, name: str) -> None:
        """Delete a checkpoint; the live weights stay, also where they are the same file.

        Raises:
            NotFound: If there is none of that name.
        """
        store, manifest = self._durable(), self.manifest(hosted.name)
        checkpoint = self.checkpoint(hosted.name, name)
        kept = tuple(other for other in manifest.checkpoints if other is not checkpoint)
        store.commit(hosted.name, replace(manifest, checkpoints=kept))

    def checkpoint(self, model: str, name: str) -> Checkpoint:
        """A checkpoint of a model.

        Raises:
            NotFound: If there is none of that name.
            FailedPrecondition: If nothing is kept on disk.
        """
        self._durable()
        if (checkpoint := self.manifest(model).checkpoint(name)) is None:
            message = f"{model} has no checkpoint {name!r}"
            raise NotFound(message, field="checkpoint", reason="CHECKPOINT_NOT_FOUND")
        return checkpoint

    def read(self, hosted: HostedModel, file: WeightsFile) -> Arrived:
        """The weights in a file, checked against a model's architecture.

        Raises:
            DataLoss: If the file is damaged; names the newest checkpoint that is not.
            InvalidArgument: If it is of another architecture.
        """
        intake = Intake(hosted.model, file.size_bytes, LoadOptions(cast=True))
        with self._durable().reading(hosted.name, file) as chunks:
            for chunk in chunks:
                intake.feed(chunk)
        return intake.finish(file.sha256)

    def close(self) -> None:
        """Let another server have the store."""
        if self._store is not None:
            self._store.close()

    def _commit(self, name: str, manifest: Manifest) -> None:
        if self._store is None:
            self._remembered[name] = manifest
        else:
            self._store.commit(name, manifest)

    def _durable(self) -> Store:
        if self._store is None:
            message = "this server keeps nothing on disk, so it has no checkpoints"
            raise FailedPrecondition(message, reason="EPHEMERAL")
        return self._store


def _written(store: Store, hosted: HostedModel, weights: StateDict | Draft) -> WeightsFile:
    if isinstance(weights, Draft):
        return store.adopt(hosted.name, hosted.version, weights)
    return store.write_weights(hosted.name, hosted.version, weights.chunks())


def _stored(hosted: HostedModel, file: WeightsFile) -> StoredModel:
    return StoredModel(
        version=hosted.version,
        version_time=hosted.version_time,
        layers=hosted.model.blueprint.architecture.layers,
        dtype=hosted.model.dtype_name,
        device=hosted.device.name,
        requires_grad=hosted.model.requires_grad,
        create_time=hosted.create_time,
        seed=hosted.seed,
        weights=file,
    )


def _checkpoint(
    name: str,
    hosted: HostedModel,
    file: WeightsFile,
    *,
    metadata: Mapping[str, str] | None = None,
    automatic: bool = False,
) -> Checkpoint:
    return Checkpoint(
        name=name,
        version=hosted.version,
        create_time=datetime.now(UTC),
        layers=hosted.model.blueprint.architecture.layers,
        weights=file,
        metadata=dict(metadata or {}),
        automatic=automatic,
    )
