"""SIGKILL at random moments to a program that changes a model without end."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from gradserve_server.checkpoints.manifest import Manifest
from gradserve_server.checkpoints.store import Store, open_store
from gradserve_server.errors import NotFound
from tests.server.checkpoints import endless_saves
from tests.server.checkpoints.folder_contents import leftovers

LONGEST_SECONDS = 0.03
"""Some ten changes."""


@dataclass
class Tally:
    """What was found after the kills."""

    saves: int = 0
    cut_short: int = 0
    lost: int = 0
    torn: int = 0
    left_over: int = 0


def killed_at_random(folder: Path, rng: random.Random) -> list[int]:
    """Run the program, kill it, and give the versions that it said it had kept."""
    command = [sys.executable, "-m", endless_saves.__name__, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == endless_saves.READY
        try:
            process.wait(rng.uniform(0, LONGEST_SECONDS))
        except subprocess.TimeoutExpired:
            process.kill()
        told = process.stdout.read().splitlines(keepends=True)
    return [int(line) for line in told if line.endswith("\n")]


def kept(store: Store) -> Manifest | None:
    try:
        return store.manifest(endless_saves.NAME)
    except NotFound:
        return None


def is_torn(store: Store, manifest: Manifest) -> bool:
    """Whether any weights of a model are other than they were written."""
    live = () if manifest.model is None else (manifest.model,)
    for holder in (*live, *manifest.checkpoints):
        with store.reading(endless_saves.NAME, holder.weights) as chunks:
            if b"".join(chunks) != endless_saves.content(holder.version):
                return True
    return False


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_after_a_kill_no_acknowledged_change_is_lost_no_file_is_torn_and_nothing_is_left_over(tmp_path, kills, report):
    rng, tally, version = random.Random(0), Tally(), 0  # noqa: S311 - no secret
    for _ in range(kills):
        told = killed_at_random(tmp_path, rng)
        tally.saves += len(told)
        tally.cut_short += bool(leftovers(tmp_path))
        acknowledged = max(told, default=version)
        with open_store(tmp_path) as store:
            manifest = kept(store)
            version = manifest.last_version if manifest else 0
            # The last change may have been kept without having been told.
            tally.lost += version not in {acknowledged, acknowledged + 1}
            tally.torn += manifest is not None and is_torn(store, manifest)
        tally.left_over += bool(leftovers(tmp_path))
    report.append(f"{kills} kills: {tally}")
    assert (tally.lost, tally.torn, tally.left_over) == (0, 0, 0)
    assert tally.cut_short > kills / 4, "most kills must come in the midst of a save, or they show nothing"
