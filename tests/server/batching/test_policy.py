"""The policies: pure functions, shown as tables."""

import pytest

from gradserve_server.batching import policy


@pytest.mark.parametrize(
    ("cost", "lone", "max_delay", "expected"),
    [
        (2_213, False, 0.0, True),
        (65_536, False, 0.0, True),
        (65_537, False, 0.0, False),
        (65_537, True, 0.0, True),
        (4_194_304, True, 0.0, True),
        (4_194_305, True, 0.0, False),
        (1, True, 0.001, False),
    ],
)
def test_tiny_work_is_done_at_once_and_small_work_for_a_lone_caller(cost, lone, max_delay, expected):
    assert policy.is_computed_at_once(cost, lone=lone, max_delay=max_delay) is expected


@pytest.mark.parametrize(
    ("last_batch", "since_last", "expected"),
    [(0, float("inf"), True), (1, 0.001, True), (1, 10e-6, False), (2, 1.0, False), (64, 1.0, False)],
)
def test_a_caller_is_lone_whose_requests_come_one_by_one_and_no_sooner_than_a_round_trip(
    last_batch, since_last, expected
):
    assert policy.is_lone(last_batch=last_batch, since_last=since_last) is expected


@pytest.mark.parametrize(
    ("rows", "waited", "max_delay", "expected"),
    [
        (1, 0.0, 0.0, "idle"),
        (255, 9.0, 0.0, "idle"),
        (256, 0.0, 0.0, "full"),
        (300, 0.0, 0.5, "full"),
        (1, 0.5, 0.5, "window"),
        (1, 0.75, 0.5, "window"),
        (1, 0.25, 0.5, 0.25),
        (255, 0.0, 0.5, 0.5),
    ],
)
def test_a_batch_is_released_when_it_is_full_or_the_device_is_free_and_the_window_over(
    rows, waited, max_delay, expected
):
    assert policy.release(rows, waited, max_rows=256, max_delay=max_delay) == expected


@pytest.mark.parametrize(("wait", "left", "expected"), [(0.0, 0.001, False), (0.8, 1.0, False), (0.81, 1.0, True)])
def test_a_request_is_hopeless_that_would_wait_for_more_than_four_fifths_of_its_time(wait, left, expected):
    assert policy.is_hopeless(wait, left) is expected
