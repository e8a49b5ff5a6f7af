"""Names that are paths, and links and other things that are planted in a store's folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gradserve_server.checkpoints.names import MANIFEST
from gradserve_server.checkpoints.store import open_store
from gradserve_server.errors import DataLoss, InvalidArgument, ServiceError, Unavailable
from tests.server.checkpoints.folder_contents import leftovers
from tests.server.checkpoints.use import live_weights, save

NAME = "classifier"

HOSTILE_NAMES = [
    "",
    ".",
    "..",
    "...",
    "../etc",
    "a/../b",
    "a/b",
    "/etc/passwd",
    "a/",
    "a\\b",
    "a\0b",
    "a\n",
    "\n",
    "-rf",
    ".lock",
    ".new-00000000-a",
    "A",
    "a b",
    " a",
    "a" * 129,
    "a" * 256,
    "\N{FULLWIDTH LATIN SMALL LETTER A}",
    "a\N{COMBINING ACUTE ACCENT}",
    "\N{CYRILLIC SMALL LETTER A}",
    "a\N{RIGHT-TO-LEFT OVERRIDE}b",
    "%2e%2e",
    "~",
    "con:",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def kept(folder: Path) -> Path:
    """The folder of a model in a store that is closed."""
    with open_store(folder) as store:
        save(store, NAME, 1)
    return folder / NAME


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=ascii)
@pytest.mark.usefixtures("kept")
def test_a_name_that_could_mean_something_to_a_file_system_is_refused_everywhere(folder, name):
    with open_store(folder) as store:
        record = store.manifest(NAME)
        uses = (
            lambda: store.manifest(name),
            lambda: store.write_weights(name, 1, [b"x"]),
            lambda: store.commit(name, record),
            lambda: store.discard(name),
            lambda: store.reading(name, record.model.weights).__enter__(),
            lambda: store.newest_intact(name),
        )
        for use in uses:
            with pytest.raises(InvalidArgument) as refusal:
                use()
            assert (refusal.value.field, refusal.value.reason) == ("name", "INVALID_NAME")
    assert sorted(path.name for path in folder.parent.iterdir()) == ["data"]
    assert sorted(path.name for path in folder.iterdir()) == [".lock", NAME]


def test_a_link_in_the_place_of_a_models_folder_is_not_followed(folder, kept, tmp_path):
    elsewhere = kept.rename(tmp_path / "elsewhere")
    before = sorted(elsewhere.iterdir())
    kept.symlink_to(elsewhere)
    with open_store(folder) as store:
        with pytest.raises(DataLoss, match="damaged"):
            store.manifest(NAME)
        with pytest.raises(ServiceError):
            store.write_weights(NAME, 2, [b"x"])
        with pytest.raises(ServiceError):
            save(store, NAME, 2)
    assert sorted(elsewhere.iterdir()) == before


@pytest.mark.parametrize("planted", ["link", "pipe", "folder"])
@pytest.mark.parametrize("which", [MANIFEST, "weights"])
def test_what_is_not_a_plain_file_is_not_read(folder, kept, tmp_path, planted, which):
    target = kept / MANIFEST if which == MANIFEST else next(kept.glob("*.safetensors"))
    elsewhere = target.rename(tmp_path / "elsewhere")
    plants = {"link": lambda: target.symlink_to(elsewhere), "pipe": lambda: os.mkfifo(target)}
    plants.get(planted, target.mkdir)()
    with open_store(folder) as store, pytest.raises(DataLoss, match="damaged"):
        live_weights(store, NAME)
    assert elsewhere.exists()


def test_a_link_in_the_place_of_the_lock_is_not_followed(folder, tmp_path):
    folder.mkdir()
    (folder / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unavailable, match="symbolic link"):
        open_store(folder)
    assert not (tmp_path / "elsewhere").exists()


def test_a_link_that_looks_like_a_leftover_is_not_followed(folder, kept, tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / MANIFEST).write_text("mine")
    (folder / ".new-00000000-a").symlink_to(precious)
    (kept / "9-00000000.safetensors").symlink_to(precious / MANIFEST)
    with open_store(folder) as store:
        assert store.names() == [NAME]
    assert (precious / MANIFEST).read_text() == "mine"
    assert not (kept / "9-00000000.safetensors").is_symlink()


def test_leftovers_of_every_kind_are_swept_away_when_the_store_is_opened(folder, kept):
    staging = folder / ".new-0123abcd-digits"
    staging.mkdir()
    leftover = [kept / "7-0123abcd.safetensors", kept / "manifest-0123abcd.new", staging / MANIFEST]
    leftover += [staging / "1-0123abcd.safetensors", folder / ".new-4567cdef-digits"]
    for path in leftover[:-1]:
        path.write_bytes(b"")
    leftover[-1].mkdir()
    with open_store(folder):
        pass
    assert leftovers(folder) == set()
