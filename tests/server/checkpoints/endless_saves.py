"""A program that changes a model without end: `endless_saves.py FOLDER`. It prints each version that it has kept."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from gradserve_server.checkpoints.manifest import Manifest, retained
from gradserve_server.checkpoints.store import Store, open_store
from gradserve_server.errors import NotFound
from tests.server.checkpoints.examples import checkpoint, deleted, manifest

NAME = "classifier"
READY = "ready"
_AUTOMATIC = 3


def content(version: int) -> bytes:
    """The weights of a version: from none to 256 KiB."""
    return version.to_bytes(8) * (version * 7919 % 32768)


def next_manifest(store: Store, kept: Manifest | None) -> Manifest:
    """The model at its next version: loaded most of the time, now and then saved under a name, or deleted."""
    version = kept.last_version + 1 if kept else 1
    if kept and kept.model and version % 11 == 0:
        return replace(deleted(kept), last_version=version)
    weights = store.write_weights(NAME, version, [content(version)])
    saved = checkpoint(f"c-{version}", version, weights, automatic=version % 5 != 0)
    return manifest(version, weights, retained((*(kept.checkpoints if kept else ()), saved), _AUTOMATIC))


def main(folder: Path) -> None:
    """Never returns."""
    with open_store(folder) as store:
        _tell(READY)
        while True:
            try:
                kept = store.manifest(NAME)
            except NotFound:
                kept = None
            following = next_manifest(store, kept)
            store.commit(NAME, following)
            _tell(following.last_version)


def _tell(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
