"""Random changes of what a store keeps, as a server makes them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import replace

from gradserve_server.checkpoints.draft import Draft
from gradserve_server.checkpoints.manifest import Manifest, WeightsFile, retained
from gradserve_server.checkpoints.store import Store
from gradserve_server.errors import ServiceError
from tests.server.checkpoints.examples import checkpoint, deleted, manifest

_AUTOMATIC = 2


class RandomChanges:
    """Writes new weights and makes up the manifest to commit.

    Attributes:
        contents: What was written, by SHA-256.
    """

    def __init__(self, rng: random.Random) -> None:
        self.contents: dict[bytes, bytes] = {}
        self._rng = rng
        self._version = 0

    def next(self, store: Store, name: str, kept: Manifest | None) -> Manifest | None:
        """Prepare one change of a model; None where it is given up after weights were written."""
        if self._rng.random() < 0.1:
            self._write(store, name)
            return None
        if kept is not None and self._rng.random() < 0.1:
            self._draft(store, name).discard()
            return kept
        if kept is None or kept.model is None:
            weights = self._write(store, name)
            return manifest(self._version, weights, kept.checkpoints if kept else ())
        changes: tuple[Callable[[Store, str, Manifest], Manifest], ...]
        changes = (self._load, self._load, self._name_live, self._name_copy, self._drop_checkpoint, self._delete)
        return self._rng.choice(changes)(store, name, kept)

    def _load(self, store: Store, name: str, kept: Manifest) -> Manifest:
        weights = self._write(store, name) if self._rng.random() < 0.5 else self._adopt(store, name, kept)
        automatic = checkpoint(f"auto-{self._version}", self._version, weights, automatic=True)
        return manifest(self._version, weights, retained((*kept.checkpoints, automatic), _AUTOMATIC))

    def _name_live(self, _store: Store, _name: str, kept: Manifest) -> Manifest:
        assert kept.model is not None
        return self._with_checkpoint(kept, kept.model.weights)

    def _name_copy(self, store: Store, name: str, kept: Manifest) -> Manifest:
        self._write(store, name)
        return self._with_checkpoint(kept, self._write(store, name))

    def _with_checkpoint(self, kept: Manifest, weights: WeightsFile) -> Manifest:
        self._version += 1
        named = checkpoint(f"named-{self._version}", kept.last_version, weights)
        return replace(kept, checkpoints=(*kept.checkpoints, named)[-4:])

    def _drop_checkpoint(self, _store: Store, _name: str, kept: Manifest) -> Manifest:
        return replace(kept, checkpoints=kept.checkpoints[1:], last_version=kept.last_version + 1)

    def _delete(self, _store: Store, _name: str, kept: Manifest) -> Manifest:
        return deleted(kept)

    def _adopt(self, store: Store, name: str, kept: Manifest) -> WeightsFile:
        draft = self._draft(store, name)
        try:
            if self._rng.random() < 0.5:
                # What the store commits while a draft is there leaves it alone.
                store.commit(name, kept)
            return store.adopt(name, self._version, draft)
        finally:
            draft.discard()

    def _draft(self, store: Store, name: str) -> Draft:
        self._version += 1
        content = self._rng.randbytes(self._rng.randint(1, 200))
        self.contents[hashlib.sha256(content).digest()] = content
        middle = self._rng.randint(0, len(content))
        draft = store.draft(name)
        try:
            draft.write(content[:middle])
            draft.write(content[middle:])
            draft.finish(hashlib.sha256(content).digest())
        except ServiceError:
            draft.discard()
            raise
        return draft

    def _write(self, store: Store, name: str) -> WeightsFile:
        self._version += 1
        content = self._rng.randbytes(self._rng.randint(0, 200))
        middle = self._rng.randint(0, len(content))
        weights = store.write_weights(name, self._version, [content[:middle], memoryview(content)[middle:]])
        self.contents[weights.sha256] = content
        return weights
