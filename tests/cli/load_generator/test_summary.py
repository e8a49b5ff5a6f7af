"""Summaries: percentiles are of the calls that ended OK, and counts are of all."""

import pytest

from gradserve.cli.load_generator.answer import Answer
from gradserve.cli.load_generator.summary import Summary


def answer(latency: float, code: str = "OK", *, late: float = 0.0) -> Answer:
    return Answer(1.0, 1.0 + late, 1.0 + latency, code, None)


def test_percentiles_are_latencies_that_calls_had():
    summary = Summary.of([answer(number / 1000) for number in range(1, 1001)])
    assert summary.latency == pytest.approx({"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0})


def test_calls_that_failed_are_counted_and_neither_timed_nor_part_of_the_rate():
    summary = Summary.of([answer(0.5), answer(1.0, "RESOURCE_EXHAUSTED"), answer(1.0, "DEADLINE_EXCEEDED")])
    assert summary.codes == {"OK": 1, "DEADLINE_EXCEEDED": 1, "RESOURCE_EXHAUSTED": 1}
    assert summary.latency["max"] == 0.5
    assert summary.ok_per_second == 1 / 2


def test_lateness_is_how_late_the_client_sent():
    assert Summary.of([answer(0.5, late=0.25)]).lateness == 0.25


def test_no_answers_make_a_summary_of_nothing():
    summary = Summary.of([])
    assert (summary.codes, summary.latency, summary.ok_per_second) == ({"OK": 0}, {}, 0.0)
