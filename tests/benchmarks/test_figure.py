"""Figures: measured in turn, and held against their targets."""

import pytest

from benchmarks.hot_path.figure import Figure, Reached, Round, measure
from benchmarks.hot_path.report import told_target


def figure(ours=None, theirs=None, bare=None, *, target=1.0, is_ceiling=False, **named) -> Figure:
    nothing = lambda _seconds: 1.0  # noqa: E731 - a measure that does not matter
    ours, theirs = ours or nothing, theirs or nothing
    name, rounds = named.get("name", "f"), named.get("rounds", 1)
    return Figure("section", name, "yardstick", "1x1", target, ours, theirs, is_ceiling, rounds, bare)


def test_both_sides_are_measured_in_turn_and_the_first_round_is_not_kept():
    order: list[str] = []

    def measured(name: str, value: float):
        def run(seconds: float) -> float:
            assert seconds == 0.5
            order.append(name)
            return value * len(order)

        return run

    (reached,) = measure([figure(measured("ours", 1), measured("theirs", 1))], 2, 0.5, lambda _text, _done: None)
    assert order == ["theirs", "ours", "ours", "theirs", "theirs", "ours"]
    assert reached.rounds == [Round(3, 4), Round(6, 5)]


def test_a_bare_server_is_measured_between_the_two():
    order: list[str] = []

    def measured(name: str):
        return lambda _seconds: order.append(name) or len(order)

    figures = [figure(measured("ours"), measured("theirs"), measured("bare"))]
    (reached,) = measure(figures, 1, 0.5, lambda _text, _done: None)
    assert order == ["theirs", "bare", "ours", "ours", "bare", "theirs"]
    assert (reached.rounds, reached.bare_ratio) == ([Round(4, 6, 5)], 5 / 6)


def test_a_figure_gets_the_rounds_that_it_needs():
    few, many = measure([figure(name="few"), figure(name="many", rounds=4)], 2, 0.1, lambda _text, _done: None)
    assert (len(few.rounds), len(many.rounds)) == (2, 4)


def test_the_ratio_is_the_median_of_those_of_the_rounds():
    reached = Reached(figure(), [Round(1.0, 2.0), Round(2.0, 2.0), Round(9.0, 3.0)])
    assert (reached.ratios, reached.ratio) == ([0.5, 1.0, 3.0], 1.0)


@pytest.mark.parametrize(
    ("target", "is_ceiling", "met", "told"),
    [
        (1.0, False, True, "≥ 1"),
        (1.01, False, False, "≥ 1.01"),
        (1.01, True, True, "< 1.01"),
        (1.0, True, False, "< 1"),
    ],
)
def test_a_target_is_a_floor_or_a_ceiling(target, is_ceiling, met, told):
    reached = Reached(figure(target=target, is_ceiling=is_ceiling), [Round(2.0, 2.0)])
    assert (reached.met, told_target(reached.figure)) == (met, told)
