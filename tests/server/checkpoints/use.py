"""Keeping a model in a store, and reading its weights."""

from __future__ import annotations

from gradserve_server.checkpoints.store import Store
from tests.server.checkpoints.examples import checkpoint, manifest


def save(store: Store, name: str, version: int) -> None:
    """Keep a model at a version, with a checkpoint of it."""
    weights = store.write_weights(name, version, [b"weights of ", memoryview(b"version %d" % version)])
    store.commit(name, manifest(version, weights, [checkpoint("latest", version, weights)]))


def live_weights(store: Store, name: str) -> bytes:
    """The bytes of a model's live weights."""
    with store.reading(name, store.manifest(name).model.weights) as chunks:
        return b"".join(chunks)
