"""Damage to what lies on disk: all of it is noticed, told, and kept to the model that it befell."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from gradserve_server.checkpoints.damage import LEAP, unused_version
from gradserve_server.checkpoints.manifest import Manifest
from gradserve_server.checkpoints.names import MANIFEST
from gradserve_server.checkpoints.store import Store
from gradserve_server.errors import DataLoss
from tests.server.checkpoints.examples import checkpoint, deleted, manifest
from tests.server.checkpoints.model_disk import File, Folder
from tests.server.checkpoints.model_files import ModelFiles

NAME, OTHER = "classifier", "other"
CONTENT = bytes(range(100))


def opened(disk: Folder) -> Store:
    return Store(ModelFiles(disk, random.Random(0)))  # noqa: S311 - no secret


def kept_on(disk: Folder, name: str = NAME) -> Manifest:
    """A model at version 3, with a checkpoint of each version, on a simulated disk."""
    store = opened(disk)
    files = [store.write_weights(name, version, [CONTENT, bytes([version])]) for version in (1, 2, 3)]
    checkpoints = [checkpoint(f"v{version}", version, weights) for version, weights in enumerate(files, 1)]
    store.commit(name, manifest(3, files[-1], checkpoints))
    return store.manifest(name)


@pytest.fixture
def disk() -> Folder:
    return Folder()


@pytest.fixture
def kept(disk: Folder) -> Manifest:
    return kept_on(disk)


def file_on(disk: Folder, name: str) -> File:
    folder = disk.names[NAME]
    assert isinstance(folder, Folder)
    file = folder.names[name]
    assert isinstance(file, File)
    return file


def damages(content: bytes) -> Iterator[bytes]:
    """Every bit flipped, every truncation, and more at the end."""
    for index in range(len(content)):
        for bit in range(8):
            yield content[:index] + bytes([content[index] ^ 1 << bit]) + content[index + 1 :]
        yield content[:index]
    yield content + b"\0"
    yield content + b"\n"
    yield content * 2


def test_every_flipped_bit_and_every_truncation_of_weights_is_noticed(disk, kept):
    store, weights = opened(disk), kept.model.weights
    file, count = file_on(disk, weights.file), 0
    for content in damages(file.content):
        file.content = content
        with pytest.raises(DataLoss, match="damaged"), store.reading(NAME, weights):
            pass
        count += 1
    assert count == 9 * weights.size_bytes + 3


def test_every_flipped_bit_and_every_truncation_of_a_manifest_is_noticed(disk, kept):
    file = file_on(disk, MANIFEST)
    before = set(disk.names[NAME].names)
    for content in damages(file.content):
        file.content = content
        store = opened(disk)
        assert store.names() == [NAME]
        with pytest.raises(DataLoss, match="damaged"):
            store.manifest(NAME)
    assert set(disk.names[NAME].names) == before, "of a damaged model nothing is swept away"


def test_a_damaged_file_of_weights_is_told_with_the_newest_checkpoint_that_is_not(disk, kept):
    store = opened(disk)
    for version in (3, 2):
        file_on(disk, kept.checkpoint(f"v{version}").weights.file).content += b"!"
        advice = f"the newest undamaged checkpoint is 'v{version - 1}'"
        with pytest.raises(DataLoss, match=advice), store.reading(NAME, kept.model.weights):
            pass
        assert store.newest_intact(NAME) == kept.checkpoint(f"v{version - 1}")
    file_on(disk, kept.checkpoint("v1").weights.file).content = b""
    with pytest.raises(DataLoss, match="no checkpoint is undamaged"), store.reading(NAME, kept.model.weights):
        pass
    assert store.newest_intact(NAME) is None


@pytest.mark.parametrize("missing", [MANIFEST, "weights"])
def test_a_file_that_is_gone_is_damage(disk, kept, missing):
    del disk.names[NAME].names[kept.model.weights.file if missing == "weights" else missing]
    store = opened(disk)
    with pytest.raises(DataLoss, match="damaged"), store.reading(NAME, store.manifest(NAME).model.weights):
        pass


def test_one_file_of_weights_in_the_place_of_another_is_damage(disk, kept):
    first, last = (file_on(disk, kept.checkpoint(name).weights.file) for name in ("v1", "v3"))
    first.content, last.content = last.content, first.content
    with pytest.raises(DataLoss, match="its SHA-256 is another"), opened(disk).reading(NAME, kept.model.weights):
        pass


def test_a_damaged_model_leaves_the_others_alone(disk, kept):
    other = kept_on(disk, OTHER)
    file_on(disk, MANIFEST).content = b""
    store = opened(disk)
    assert store.names() == [NAME, OTHER]
    assert store.manifest(OTHER) == other


def test_a_damaged_model_can_be_deleted_and_nothing_of_it_is_left(disk, kept):
    file_on(disk, MANIFEST).content = b""
    store = opened(disk)
    store.commit(NAME, deleted(kept))
    assert disk.tree() == {NAME: {MANIFEST}}
    assert opened(disk).manifest(NAME) == replace(deleted(kept), last_version=3 + LEAP)


@pytest.mark.parametrize(
    ("names", "text", "highest"),
    [
        ([], b"", 0),
        (["7-1f0c62aa.safetensors", "12-1f0c62aa.safetensors", "99-notes.txt", "manifest.json"], b"", 12),
        (["7-1f0c62aa.safetensors"], b' "last_version": 1007,\n "model": {"version": 7,', 1007),
        ([], b'"last_version": 3, "model": {"version": 70, "la', 70),
        (["9999999999999999999-1f0c62aa.safetensors"], b'"version": 9999999999999999999', 0),
    ],
)
def test_where_a_manifest_is_damaged_the_next_version_is_far_above_all_that_can_be_read(names, text, highest):
    assert unused_version(names, text) == highest + LEAP
