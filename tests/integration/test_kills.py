"""SIGKILL at random moments to a server whose models are changed without end, each by a caller of its own.

The disk does not lose what it was given: power losses are simulated in tests/server/checkpoints.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load_file

import gradserve
from gradserve_server.checkpoints.manifest_text import parse_manifest
from gradserve_server.checkpoints.names import MANIFEST
from tests.integration.kept_models import AUTOMATIC, WEIGHTS, Change, KeptModel, Snapshot, next_change
from tests.server.checkpoints.folder_contents import leftovers
from tests.support.server_lives import ServerLives, server_lives

CALLERS = 4
LONGEST_SECONDS = 0.2
"""For which callers change models: some dozens of changes each."""

STARTS = 0.1
"""How many of the lives are ended while the server starts."""

LONGEST_START_SECONDS = 0.3


@dataclass
class Caller:
    """Who changes one model.

    Attributes:
        name: The model's.
        dice: What the changes are drawn from.
        kept: The model as it was acknowledged.
        pending: The change whose answer did not come.
        changes: How many were acknowledged.
    """

    name: str
    dice: random.Random
    kept: KeptModel = field(default_factory=KeptModel)
    pending: Change | None = None
    changes: int = 0

    def change_until_cut_off(self, client: gradserve.Client) -> None:
        """Make one change after the other."""
        while True:
            self.pending = next_change(self.name, self.kept, self.dice)
            try:
                told = self.pending.call(client)
            except (gradserve.UnavailableError, gradserve.CancelledError):
                return
            assert told == self.pending.version
            self.kept, self.pending, self.changes = self.pending.after, None, self.changes + 1

    def settle(self, client: gradserve.Client) -> bool:
        """Find out whether the pending change was made; give whether the server has what it must have."""
        possible = [self.kept] if self.pending is None else [self.kept, self.pending.after]
        versions = told_versions(client, self.name)
        found = [kept for kept in possible if expected_versions(kept) == versions]
        self.kept, self.pending = found[0] if found else self.kept, None
        return bool(found)


@dataclass
class Tally:
    """What was found after the kills."""

    starts: int = 0
    cut_short: int = 0
    lost: int = 0
    torn: int = 0
    left_over: int = 0


def expected_versions(kept: KeptModel) -> Mapping[str, int]:
    """The versions of the live weights, under the empty name, and of the checkpoints."""
    live = {} if kept.live is None else {"": kept.live}
    return {name: snapshot.version for name, snapshot in {**kept.checkpoints, **live}.items()}


def told_versions(client: gradserve.Client, name: str) -> Mapping[str, int]:
    """What the server tells of these."""
    try:
        checkpoints = client.model(name).list_checkpoints()
        assert all(checkpoint.automatic == checkpoint.name.startswith(AUTOMATIC) for checkpoint in checkpoints)
        return {"": client.model(name).info().version, **{kept.name: kept.version for kept in checkpoints}}
    except gradserve.NotFoundError:
        return {}


def is_torn(client: gradserve.Client, folder: Path, caller: Caller) -> bool:
    """Whether any weights of a model, in memory or on disk, are other than they were acknowledged."""
    if caller.kept.live is None:
        return False
    manifest = parse_manifest((folder / MANIFEST).read_bytes())
    assert manifest.model is not None
    files = {checkpoint.name: checkpoint.weights.file for checkpoint in manifest.checkpoints}
    found = [
        (caller.kept.live, client.model(caller.name).state_dict()),
        (caller.kept.live, load_file(folder / manifest.model.weights.file)),
        *((snapshot, load_file(folder / files[name])) for name, snapshot in caller.kept.checkpoints.items()),
    ]
    return not all(are_of(snapshot, weights) for snapshot, weights in found)


def are_of(snapshot: Snapshot, weights: Mapping[str, npt.NDArray[np.float32]]) -> bool:
    """Whether weights are those of a snapshot, to the last bit."""
    expected = WEIGHTS[snapshot.seed]
    return weights.keys() == expected.keys() and all(
        weights[name].tobytes() == tensor.numpy().tobytes() for name, tensor in expected.items()
    )


def live(server: ServerLives, data_dir: Path, callers: list[Caller], tally: Tally, dice: random.Random) -> None:
    """One life: what the ones before have left is compared, and then changed until the kill."""
    server.begin(data_dir)
    with gradserve.Client(server.target()) as client, ThreadPoolExecutor(CALLERS) as pool:
        # A port that an earlier life had is one that gRPC, in this process, remembers as refusing it.
        client.wait_until_ready()
        tally.left_over += bool(leftovers(data_dir))
        for caller in callers:
            is_whole = caller.settle(client)
            tally.lost += not is_whole
            tally.torn += is_whole and is_torn(client, data_dir / caller.name, caller)
        under_way = [pool.submit(caller.change_until_cut_off, client) for caller in callers]
        given_up, _ = wait(under_way, dice.uniform(0, LONGEST_SECONDS), FIRST_COMPLETED)
        server.end()
        # Else the client would try again, as if the server came back.
        client.close()
    for caller in under_way:
        caller.result()
    assert not given_up, "a call was cut off before the kill"
    tally.cut_short += bool(leftovers(data_dir))


def die_young(server: ServerLives, data_dir: Path, tally: Tally, dice: random.Random) -> None:
    """A life that ends while the server starts."""
    server.begin(data_dir)
    threading.Event().wait(dice.uniform(0, LONGEST_START_SECONDS))
    server.end()
    tally.starts += 1


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_after_a_kill_no_acknowledged_change_is_lost_no_weights_are_torn_and_nothing_is_left_over(
    tmp_path, pytestconfig, report
):
    kills, dice, tally = pytestconfig.getoption("kills"), random.Random(0), Tally()  # noqa: S311 - no secret
    callers = [Caller(f"model-{number}", random.Random(number)) for number in range(CALLERS)]  # noqa: S311
    with server_lives(tmp_path / "log") as server:
        for _ in range(kills):
            if dice.random() < STARTS:
                die_young(server, tmp_path / "data", tally, dice)
            else:
                live(server, tmp_path / "data", callers, tally, dice)
            assert (tally.lost, tally.torn, tally.left_over) == (0, 0, 0), callers
        live(server, tmp_path / "data", callers, tally, dice)
    changes = sum(caller.changes for caller in callers)
    report.append(f"{kills} kills of a server, {changes} acknowledged changes: {tally}")
    assert (tally.lost, tally.torn, tally.left_over) == (0, 0, 0), callers
    assert tally.cut_short > kills / 4, "most kills must come in the midst of a change, or they show nothing"
    assert "Traceback" not in (tmp_path / "log").read_text()
