"""The generator: a process of its own that calls as it is told, and tells of each call how it ended."""

import time

import pytest

from benchmarks.echo import SERVICE
from benchmarks.generator import Order, Steps


@pytest.fixture
def order(echo) -> Order:
    return Order(echo, f"/{SERVICE}/3", b"message", timeout=5)


def test_a_closed_loop_brings_answers(order):
    run = order.closed(4, 0.1)
    assert run.answers
    assert {answer.code for answer in run.answers} == {"OK"}


def test_an_open_loop_calls_at_the_times_that_its_seed_draws(order):
    run = order.open(200, 0.3, seed=3)
    assert sorted(answer.intended for answer in run.answers) == Steps(((200, 0.3),), 3).arrivals()


def test_each_caller_has_its_own_answers(order):
    few, many = order.steps(Steps(((20, 0.3),)), Steps(((400, 0.3),), 1)).callers
    assert 0 < len(few) < len(many)


def test_steps_follow_each_other():
    times = Steps(((1000, 1.0), (10, 2.0))).arrivals()
    assert times == sorted(times)
    assert 900 < sum(when < 1 for when in times) < 1100
    assert 5 < sum(when >= 1 for when in times) < 40


def test_the_start_is_told_by_a_clock_that_all_processes_share(order):
    before = time.monotonic()
    run = order.open(100, 0.1)
    assert before < run.start < time.monotonic()


def test_a_failure_is_told_by_its_status(order):
    run = Order(order.target, "/no.Such/Method", b"").closed(1, 0.05)
    assert {answer.code for answer in run.answers} == {"UNIMPLEMENTED"}


def test_a_generator_that_cannot_start_is_an_error(order):
    with pytest.raises(OSError, match="the generator ended with 2"):
        order.closed("few", 0.1)  # type: ignore[arg-type] - what its own command line refuses
