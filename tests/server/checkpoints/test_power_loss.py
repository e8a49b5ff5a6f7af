"""The store on a simulated disk that may lose whatever was not made durable, and whose calls may fail."""

import logging
from collections.abc import Iterator

import pytest

from gradserve_server.errors import DataLoss
from tests.server.checkpoints.fsync_sites import fsync_sites
from tests.server.checkpoints.history import BrokenPromiseError, History

pytestmark = pytest.mark.slow

SITES = fsync_sites()
CRASHES_OF_ONE_DISK = 20
ENOUGH = 100_000
"""Crash states within which the lack of any one fsync is noticed: most take a few, the rarest some thousands."""


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)


def histories(seed: int, states: int, omitted: str = "") -> Iterator[History]:
    """Disks that have been through so many crashes, one after the other."""
    crashes = 0
    while crashes < states:
        history = History(seed + crashes, omitted)
        while history.crashes < CRASHES_OF_ONE_DISK:
            history.live_until_crash()
        crashes += history.crashes
        yield history


@pytest.mark.timeout(3600)
def test_after_a_power_loss_each_model_is_as_before_or_after_the_change_that_was_cut_short(
    crash_states, crash_seed, report
):
    """And nothing that was acknowledged is lost, no file is torn, and nothing is left over."""
    crashes, refusals, sites = 0, 0, set()
    for history in histories(crash_seed, crash_states):
        crashes, refusals, sites = crashes + history.crashes, refusals + history.refusals, sites | history.sync_sites
    report.append(f"{crashes} crash states from seed {crash_seed} on, {refusals} refused changes: 0 bad")
    assert crashes >= crash_states
    assert sites == set(SITES)


@pytest.mark.parametrize("site", SITES)
def test_without_any_one_of_its_fsyncs_the_store_breaks_its_promise(site, crash_seed):
    with pytest.raises((BrokenPromiseError, DataLoss)):
        for _ in histories(crash_seed, ENOUGH, omitted=site):
            pass
