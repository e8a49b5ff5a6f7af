"""Each system call of a save, in turn, is the program's last, or fails."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gradserve_server.checkpoints.store import open_store
from gradserve_server.errors import NotFound
from tests.server.checkpoints import saving_process
from tests.server.checkpoints.folder_contents import leftovers
from tests.server.checkpoints.tracing import Saver, SystemCall, calls_of_the_save, running_saver, was_made

OLD, NEW, UPLOADED = 1, 2, saving_process.UPLOADED
REFUSALS = {"ENOSPC": "DISK_FULL", "EIO": "STORAGE_FAILED"}
STEPS = {
    (0, NEW): [
        "fsync(6</.new-*-classifier/2-*.safetensors>)",
        "fsync(6</.new-*-classifier/manifest.json>)",
        "fsync(5</.new-*-classifier>)",
        'renameat(3</>, ".new-*-classifier", 3</>, "classifier")',
        "fsync(3</>)",
    ],
    (OLD, NEW): [
        "fsync(6</classifier/2-*.safetensors>)",
        "fsync(5</classifier>)",
        "fsync(6</classifier/manifest-*.new>)",
        'renameat(5</classifier>, "manifest-*.new", 5</classifier>, "manifest.json")',
        "fsync(5</classifier>)",
    ],
    (OLD, UPLOADED): [
        "fsync(6</classifier/upload-*.part>)",
        'renameat(5</classifier>, "upload-*.part", 5</classifier>, "3-*.safetensors")',
        "fsync(5</classifier>)",
        "fsync(6</classifier/manifest-*.new>)",
        'renameat(5</classifier>, "manifest-*.new", 5</classifier>, "manifest.json")',
        "fsync(5</classifier>)",
    ],
}
"""The calls that make a save durable, by the versions that are there before and after; with the store as the root."""

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Situation:
    """A store before a save.

    Attributes:
        saver: What saves.
        folder: The store; to be copied.
        version: Of the model in it; 0 if there is none.
        saved: The version that is saved.
        calls: The calls of the save.
    """

    saver: Saver
    folder: Path
    version: int
    saved: int
    calls: list[SystemCall]


@pytest.fixture(scope="module")
def saver() -> Iterator[Saver]:
    with running_saver() as running:
        yield running


@pytest.fixture(
    scope="module",
    params=[(0, NEW), (OLD, NEW), (OLD, UPLOADED)],
    ids=["a new model", "a model that is there", "an upload to a model that is there"],
)
def situation(request: pytest.FixtureRequest, saver: Saver, tmp_path_factory: pytest.TempPathFactory) -> Situation:
    scratch = tmp_path_factory.mktemp("situation")
    folder, copy, log = scratch / "before", scratch / "after", scratch / "log"
    version, saved = request.param
    with open_store(folder) as store:
        if version:
            saving_process.save(store, version)
    shutil.copytree(folder, copy)
    assert saver.save(copy, saved, log) == saving_process.SAVED
    return Situation(saver, folder, version, saved, calls_of_the_save(log))


def shown_version(folder: Path) -> int:
    """Open a store and give the version of its model, whose weights must be those of that version; 0 if it has none."""
    with open_store(folder) as store:
        try:
            model = store.manifest(saving_process.NAME).model
        except NotFound:
            return 0
        assert model is not None
        with store.reading(saving_process.NAME, model.weights) as chunks:
            assert b"".join(chunks) == saving_process.content(model.version)
        return model.version


def tampered(situation: Situation, call: SystemCall, injection: str, scratch: Path) -> tuple[str, int]:
    """Save while one call is tampered with; what was said, and the version that is there when the store is opened."""
    folder, log = scratch / "store", scratch / "log"
    shutil.copytree(situation.folder, folder)
    options = ("-e", f"trace={call.name}", "-e", f"inject={call.name}:{injection}:when={call.ordinal}")
    said = situation.saver.save(folder, situation.saved, log, *options)
    assert was_made(call, log)
    version = shown_version(folder)
    assert leftovers(folder) == set()
    shutil.rmtree(scratch)
    return said, version


def each_tampered(situation: Situation, injection: str, scratch: Path) -> list[tuple[str, int]]:
    assert len(situation.calls) > 30
    return [
        tampered(situation, call, injection, scratch / f"{index}-{call.name}")
        for index, call in enumerate(situation.calls)
    ]


def test_a_kill_at_any_system_call_leaves_the_old_state_or_the_new_one(situation, tmp_path, report):
    ends = each_tampered(situation, "signal=KILL", tmp_path)
    assert {said for said, _ in ends} == {""}
    versions = [version for _, version in ends]
    assert versions == sorted(versions), "once the new state is there, it stays"
    assert set(versions) == {situation.version, situation.saved}
    report.append(f"{len(ends)} system calls of a save, each the last one once: 0 bad")


@pytest.mark.parametrize("error", REFUSALS)
def test_a_failing_system_call_refuses_the_save_and_changes_nothing_or_does_not_matter(
    situation, error, tmp_path, report
):
    ends = each_tampered(situation, f"error={error}", tmp_path)
    assert set(ends) == {(saving_process.SAVED, situation.saved), (REFUSALS[error], situation.version)}
    report.append(f"{len(ends)} system calls of a save, each failed once with {error}: 0 bad")


def test_a_save_makes_everything_durable_before_it_counts_on_it(situation, tmp_path):
    folder, log = tmp_path / "store", tmp_path / "log"
    shutil.copytree(situation.folder, folder)
    situation.saver.save(folder, situation.saved, log, "-y")
    steps = [f"{call.name}({call.text})" for call in calls_of_the_save(log) if call.name in {"fsync", "renameat"}]
    assert [re.sub(f"<{folder}/?", "</", step) for step in steps] == STEPS[situation.version, situation.saved]
