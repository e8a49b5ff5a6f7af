"""The policies: pure functions, shown as tables."""

import pytest

from gradserve_server.batching import policy


@pytest.mark.parametrize(("cost", "expected"), [(1, True), (1_048_576, True), (1_048_577, False)])
def test_a_batch_is_tiny_that_costs_no_more_than_to_hand_it_over(cost, expected):
    assert policy.is_tiny(cost) is expected


@pytest.mark.parametrize(("cost", "expected"), [(1_048_577, True), (4_194_304, True), (4_194_305, False)])
def test_work_is_small_that_holds_up_the_loop_for_some_hundred_microseconds(cost, expected):
    assert policy.is_small(cost) is expected


@pytest.mark.parametrize(
    ("singles", "at_once", "expected"),
    [(0, 0, False), (7, 0, False), (8, 0, True), (8, 63, True), (8, 64, False), (99, 63, True), (99, 64, False)],
)
def test_a_caller_is_lone_whose_requests_came_one_by_one_eight_times_and_whenever_that_was_looked_at_since(
    singles, at_once, expected
):
    assert policy.is_lone(singles=singles, at_once=at_once) is expected


@pytest.mark.parametrize(("cpus", "expected"), [(1, 0.0), (1.5, 0.0), (2, 0.001), (64, 0.001)])
def test_a_server_stays_awake_where_a_processor_is_left_for_others(cpus, expected):
    assert policy.busy_poll(0.001, cpus) == expected


@pytest.mark.parametrize(
    ("pause", "seconds", "expected"), [(0.0009, 0.001, True), (0.001, 0.001, False), (0.0, 0.0, False)]
)
def test_a_caller_comes_again_soon_who_has_just_come_before_the_server_would_have_slept(pause, seconds, expected):
    assert policy.comes_again_soon(pause, seconds) is expected


@pytest.mark.parametrize(
    ("quiet_turns", "requests", "cost", "expected"),
    [
        (15, 1, 1, False),
        (16, 1, 1, True),
        (0, 127, 268_435_455, False),
        (0, 128, 1, True),
        (0, 1, 268_435_456, True),
    ],
)
def test_those_are_all_here_behind_whom_nobody_comes_for_some_turns_or_who_are_enough_for_a_batch(
    quiet_turns, requests, cost, expected
):
    assert policy.are_all_here(quiet_turns, requests=requests, cost=cost) is expected


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
    assert policy.release(rows, waited, max_rows=256, max_delay=max_delay, draining=False) == expected


@pytest.mark.parametrize(("rows", "max_delay", "expected"), [(1, 0.5, "drain"), (256, 0.5, "full"), (1, 0.0, "idle")])
def test_nobody_waits_for_others_while_the_server_stops(rows, max_delay, expected):
    assert policy.release(rows, 0.0, max_rows=256, max_delay=max_delay, draining=True) == expected


@pytest.mark.parametrize(("seconds", "left", "expected"), [(0.0, 0.001, False), (0.7, 1.0, False), (0.71, 1.0, True)])
def test_a_request_is_hopeless_that_would_take_more_than_seven_tenths_of_its_time(seconds, left, expected):
    assert policy.is_hopeless(seconds, left) is expected
