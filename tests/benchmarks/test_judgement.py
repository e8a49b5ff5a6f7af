"""What the answers of an overload say."""

import math

import pytest

from benchmarks.overload.judgement import (
    admitted_p99,
    due,
    growth,
    ok_share,
    recovery_seconds,
    without_pushback,
)
from gradserve.cli.load_generator.answer import Answer


def answer(intended: float, code: str = "OK", *, seconds: float = 0.01, pushback: str | None = None) -> Answer:
    return Answer(intended, intended + 1, intended + 1 + seconds, code, pushback)


def test_the_share_of_ok_is_of_all_calls():
    assert ok_share([answer(0), answer(0, "RESOURCE_EXHAUSTED"), answer(0, "DEADLINE_EXCEEDED"), answer(0)]) == 0.5
    assert math.isnan(ok_share([]))


def test_a_call_is_due_when_it_was_to_be_sent():
    answers = [answer(0.0), answer(0.5), answer(1.0)]
    assert due(answers, 0.5, 1.0) == [answers[1]]


def test_latency_of_admitted_calls_counts_those_that_ran_into_their_deadline_and_not_those_refused():
    fast = [answer(0, seconds=0.1)] * 98
    refused = [answer(0, "RESOURCE_EXHAUSTED", seconds=9.0)] * 50
    late = answer(0, "DEADLINE_EXCEEDED", seconds=0.25)
    assert admitted_p99([*fast, *refused, late]) == pytest.approx(0.25)
    assert admitted_p99([*fast, *fast, *refused, late]) == pytest.approx(0.1)


def test_every_refusal_must_say_when_to_try_again():
    refusals = [answer(0, "RESOURCE_EXHAUSTED", pushback="50"), answer(0, "RESOURCE_EXHAUSTED"), answer(0)]
    assert without_pushback(refusals) == 1


def test_recovery_lasts_until_the_end_of_the_last_bad_second():
    good = [answer(10 + number / 100) for number in range(1000)]
    assert recovery_seconds(good, 10) == 0
    assert recovery_seconds([*good, answer(12.5, "DEADLINE_EXCEEDED"), answer(12.6, "UNAVAILABLE")], 10) == 3
    assert recovery_seconds([*good, answer(9.5, "DEADLINE_EXCEEDED")], 10) == 0


def test_growth_is_from_the_second_quarter_to_the_last():
    assert growth([0, 0, 50, 50, 50, 50, 50, 50]) == 0
    assert growth([0, 0, 10, 10, 20, 20, 30, 30]) == 20
