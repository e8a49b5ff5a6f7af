"""The store on a real disk."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from gradserve_server.checkpoints.names import MANIFEST
from gradserve_server.checkpoints.store import open_store
from gradserve_server.errors import FailedPrecondition, NotFound, Unavailable
from tests.server.checkpoints.examples import checkpoint, deleted
from tests.server.checkpoints.folder_contents import leftovers
from tests.server.checkpoints.use import live_weights, save

NAME = "classifier"
LONGEST = "a" * 128


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def kept(folder: Path) -> Path:
    """The folder of a model in a store that is closed."""
    with open_store(folder) as store:
        save(store, NAME, 1)
    return folder / NAME


class TestKeeping:
    def test_what_is_committed_is_there_after_the_store_was_opened_again(self, folder):
        with open_store(folder) as store:
            for name in (NAME, "a.b_c-d", LONGEST):
                save(store, name, 7)
            kept = {name: store.manifest(name) for name in store.names()}
        with open_store(folder) as store:
            assert {name: store.manifest(name) for name in store.names()} == kept
            assert {live_weights(store, name) for name in kept} == {b"weights of version 7"}

    def test_what_is_not_committed_does_not_count_and_leaves_nothing(self, folder):
        with open_store(folder) as store:
            store.write_weights(NAME, 1, [b"x"])
            with pytest.raises(NotFound):
                store.manifest(NAME)
            store.discard(NAME)
            assert leftovers(folder) == set()
            save(store, NAME, 1)
            store.write_weights(NAME, 2, [b"x"])
            store.discard(NAME)
            assert leftovers(folder) == set()
            assert live_weights(store, NAME) == b"weights of version 1"

    def test_a_file_that_no_manifest_names_any_more_is_deleted(self, folder, kept):
        with open_store(folder) as store:
            save(store, NAME, 2)
            assert len(list(kept.iterdir())) == 2
            store.commit(NAME, deleted(store.manifest(NAME)))
        assert [path.name for path in kept.iterdir()] == [MANIFEST]

    @pytest.mark.usefixtures("kept")
    def test_a_deleted_model_is_remembered_with_its_version(self, folder):
        with open_store(folder) as store:
            store.commit(NAME, deleted(store.manifest(NAME)))
        with open_store(folder) as store:
            assert (store.names(), store.manifest(NAME).model) == ([NAME], None)
            assert store.manifest(NAME).last_version == 1

    def test_a_checkpoint_may_share_the_file_of_the_live_weights(self, folder, kept):
        with open_store(folder) as store:
            before = store.manifest(NAME)
            shared = checkpoint("v1", 1, before.model.weights)
            store.commit(NAME, replace(before, checkpoints=(*before.checkpoints, shared)))
            assert len(list(kept.iterdir())) == 2

    @pytest.mark.usefixtures("kept")
    def test_weights_whose_source_fails_leave_nothing(self, folder):
        def chunks():
            yield b"a beginning"
            raise ValueError("the client is gone")

        with open_store(folder) as store:
            for name in (NAME, "new"):
                with pytest.raises(ValueError, match="the client is gone"):
                    store.write_weights(name, 2, chunks())
        assert leftovers(folder) == set()

    @pytest.mark.usefixtures("kept")
    def test_a_manifest_that_names_a_file_that_is_not_there_is_not_committed(self, folder):
        with open_store(folder) as store:
            before = store.manifest(NAME)
            gone = replace(before.model.weights, file="9-00000000.safetensors")
            with pytest.raises(ValueError, match="not there"):
                store.commit(NAME, replace(before, model=replace(before.model, weights=gone)))
            assert store.manifest(NAME) == before

    def test_weights_that_are_being_read_can_be_read_to_the_end_when_they_are_replaced(self, folder):
        with open_store(folder) as store:
            save(store, NAME, 1)
            with store.reading(NAME, store.manifest(NAME).model.weights) as chunks:
                save(store, NAME, 2)
                assert b"".join(chunks) == b"weights of version 1"

    def test_models_are_kept_from_many_threads_at_once(self, folder):
        names = [f"model-{index}" for index in range(8)]
        with open_store(folder) as store:

            def change(name: str) -> None:
                for version in range(1, 11):
                    save(store, name, version)
                    assert name in store.names()

            with ThreadPoolExecutor(len(names)) as pool:
                list(pool.map(change, names))
        with open_store(folder) as store:
            assert {live_weights(store, name) for name in names} == {b"weights of version 10"}
        assert leftovers(folder) == set()


class TestTheFolder:
    def test_only_its_owner_can_enter_it_or_read_what_is_in_it(self, tmp_path):
        mask = os.umask(0)
        try:
            with open_store(tmp_path / "a" / "b") as store:
                save(store, NAME, 1)
                store.write_weights("new", 1, [b"x"])
                paths = [tmp_path / "a", *(tmp_path / "a").rglob("*")]
                modes = {stat.filemode(path.stat().st_mode) for path in paths}
        finally:
            os.umask(mask)
        assert len(paths) == 8
        assert modes == {"drwx------", "-rw-------"}

    def test_a_second_store_on_it_is_refused(self, folder):
        with open_store(folder):
            with pytest.raises(FailedPrecondition, match="another server uses") as refusal:
                open_store(folder)
            assert refusal.value.reason == "DATA_DIR_IN_USE"
        with open_store(folder):
            pass

    def test_a_killed_process_does_not_keep_it(self, folder):
        program = (
            "import pathlib, sys; from gradserve_server.checkpoints.store import open_store; "
            "store = open_store(pathlib.Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
        )
        command = [sys.executable, "-c", program, str(folder)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline().strip() == "open"
            with pytest.raises(FailedPrecondition):
                open_store(folder)
            process.send_signal(signal.SIGKILL)
        with open_store(folder):
            pass

    def test_what_others_put_there_is_left_alone(self, folder, kept):
        foreign = [folder / "notes.txt", folder / "readme", kept / "weights.bak", folder / "lost+found" / "x"]
        foreign += [folder / "other" / "y", folder / ".hidden" / MANIFEST, kept / "sub" / "1-00000000.safetensors"]
        for path in foreign:
            path.parent.mkdir(exist_ok=True)
            path.write_text("mine")
        with open_store(folder) as store:
            assert store.names() == [NAME]
            save(store, NAME, 2)
        assert {path.read_text() for path in foreign} == {"mine"}

    def test_a_folder_that_cannot_be_made_is_told(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(Unavailable, match="Not a directory"):
            open_store(tmp_path / "file" / "data")
