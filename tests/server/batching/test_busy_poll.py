"""Staying awake, on a loop that tells whether it would sleep."""

import asyncio
from time import perf_counter

from gradserve_server.batching.busy_poll import BusyPoll
from tests.support.sleeps import sleeps_after

SECONDS = 60.0


async def answer_twice(poll: BusyPoll) -> None:
    for _ in range(2):
        poll.answered(perf_counter())


def test_the_loop_stays_awake_for_a_caller_who_came_soon_after_an_answer():
    poll = BusyPoll(SECONDS)

    assert not sleeps_after(lambda: answer_twice(poll))


def test_the_loop_sleeps_after_the_first_answer():
    poll = BusyPoll(SECONDS)

    async def answer_once():
        poll.answered(perf_counter())

    assert sleeps_after(answer_once)


def test_the_loop_sleeps_after_an_answer_to_a_caller_who_took_his_time():
    poll = BusyPoll(SECONDS)

    async def answer_late():
        poll.answered(perf_counter())
        poll.answered(perf_counter() + SECONDS)

    assert sleeps_after(answer_late)


def test_the_loop_sleeps_when_nobody_comes():
    poll = BusyPoll(0.01)

    async def wait():
        await answer_twice(poll)
        await asyncio.sleep(0.01)

    assert sleeps_after(wait)


def test_the_loop_sleeps_once_another_thread_is_at_work():
    poll = BusyPoll(SECONDS)

    async def stop():
        await answer_twice(poll)
        poll.stop()
        await asyncio.sleep(0)

    assert sleeps_after(stop)


def test_the_loop_sleeps_where_it_is_never_to_stay_awake():
    poll = BusyPoll(0)

    assert sleeps_after(lambda: answer_twice(poll))
