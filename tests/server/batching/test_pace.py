"""An estimate of time is that of the batches that were seen, and no outlier is taken for a rule."""

from __future__ import annotations

import pytest

from gradserve_server.batching.pace import Pace

MILLION = 1_000_000


def test_nothing_takes_time_before_anything_was_seen() -> None:
    assert Pace().seconds(MILLION) == 0.0


def test_twice_the_cost_takes_twice_the_time() -> None:
    pace = Pace()
    pace.observe(MILLION, 0.01)

    assert pace.seconds(2 * MILLION) == pytest.approx(0.02)


def test_a_slow_batch_among_fast_ones_counts_for_a_fifth() -> None:
    pace = Pace()
    pace.observe(MILLION, 0.01)
    pace.observe(MILLION, 0.06)

    assert pace.seconds(MILLION) == pytest.approx(0.02)


def test_a_cold_start_of_next_to_no_work_does_not_make_other_work_look_hopeless() -> None:
    pace = Pace()
    pace.observe(100, 0.05)

    assert pace.seconds(100_000) < 0.1
