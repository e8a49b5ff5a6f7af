"""The phases of a server's life."""

import itertools

import pytest

from gradserve_server.changes import Changes
from gradserve_server.errors import Unavailable
from gradserve_server.lifecycle import Lifecycle, Phase

LEGAL = {
    (Phase.STARTING, Phase.SERVING),
    (Phase.STARTING, Phase.STOPPED),
    (Phase.SERVING, Phase.DRAINING),
    (Phase.DRAINING, Phase.STOPPED),
}
PATH_TO = {
    Phase.STARTING: (),
    Phase.SERVING: (Phase.SERVING,),
    Phase.DRAINING: (Phase.SERVING, Phase.DRAINING),
    Phase.STOPPED: (Phase.STOPPED,),
}


def lifecycle_in(phase: Phase) -> tuple[Lifecycle, Changes]:
    changes = Changes()
    lifecycle = Lifecycle(changes)
    for step in PATH_TO[phase]:
        lifecycle.advance(step)
    return lifecycle, changes


@pytest.mark.parametrize(("before", "after"), list(itertools.product(Phase, Phase)))
def test_a_legal_move_is_announced_and_an_illegal_one_changes_nothing(before, after):
    lifecycle, changes = lifecycle_in(before)
    coming = changes.next
    if (before, after) in LEGAL:
        lifecycle.advance(after)
        assert (lifecycle.phase, coming.is_set()) == (after, True)
    else:
        with pytest.raises(ValueError, match=f"{after.name} cannot follow {before.name}"):
            lifecycle.advance(after)
        assert (lifecycle.phase, coming.is_set()) == (before, False)


@pytest.mark.parametrize("phase", Phase)
def test_calls_are_refused_only_while_the_server_starts(phase):
    lifecycle, _ = lifecycle_in(phase)
    if phase is Phase.STARTING:
        with pytest.raises(Unavailable, match="starting"):
            lifecycle.check_started()
    else:
        lifecycle.check_started()
