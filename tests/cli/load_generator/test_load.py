"""Loads: how many calls are in flight, when calls are sent, and from when latency counts."""

import asyncio
import time

import pytest

from gradserve.cli.load_generator.answer import Ending
from gradserve.cli.load_generator.load import ClosedLoop, OpenLoop, new_event_loop


class Server:
    """Answers after so many seconds, and counts."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.in_flight = self.most_in_flight = 0

    async def __call__(self) -> Ending:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(self.seconds)
        self.in_flight -= 1
        return Ending()


def answers(load, server, seconds):
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(load.answers(server, seconds))


def test_a_closed_loop_keeps_as_many_calls_in_flight_as_it_has_callers():
    server = Server(0.01)
    answers(ClosedLoop(7), server, 0.05)
    assert server.most_in_flight == 7


def test_a_closed_loop_ends_once_its_time_is_over_and_every_call_has_ended():
    server = Server(0.05)
    ended = answers(ClosedLoop(3), server, 0.08)
    assert (len(ended), server.in_flight) == (6, 0)


def test_an_open_loop_sends_on_while_nothing_is_answered():
    server = Server(0.5)
    ended = answers(OpenLoop(100), server, 0.3)
    assert server.most_in_flight == len(ended) == len(OpenLoop(100).arrivals(0.3))


def test_an_open_loop_counts_latency_from_the_time_at_which_a_call_was_to_be_sent():
    """A client that is held up for a while sends late; that wait is in the latency."""

    async def held_up() -> Ending:
        if not blocked:
            blocked.append(True)
            time.sleep(0.2)  # noqa: ASYNC251 - this is what holds up the client
        return Ending()

    blocked: list[bool] = []
    ended = answers(OpenLoop(200), held_up, 0.25)
    within = [answer for answer in ended[1:] if answer.intended < ended[0].sent + 0.1]
    assert within
    assert all(answer.latency > 0.08 and answer.done - answer.sent < 0.08 for answer in within)


def test_arrivals_are_the_same_for_the_same_seed_and_come_as_often_as_asked_for():
    load = OpenLoop(1000, seed=5)
    times = load.arrivals(10)
    assert times == load.arrivals(10) == sorted(times)
    assert times != OpenLoop(1000, seed=6).arrivals(10)
    assert len(times) == pytest.approx(10_000, rel=0.05)


def test_the_event_loop_wakes_earlier_than_a_whole_millisecond():
    async def shortest_sleep() -> float:
        taken = []
        for _ in range(50):
            start = time.perf_counter()
            await asyncio.sleep(0.0002)
            taken.append(time.perf_counter() - start)
        return min(taken)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert runner.run(shortest_sleep()) < 0.001


def test_loads_are_told_in_words():
    assert [str(load) for load in (ClosedLoop(1), ClosedLoop(8), OpenLoop(250.0))] == [
        "1 caller",
        "8 callers",
        "250 calls/s",
    ]
