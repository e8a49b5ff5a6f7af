"""Pauses of a thread that goes through very many things."""

import threading
import time
from itertools import repeat

from gradserve_server.metrics.pauses import Unhurried, unhurried


def test_everything_is_gone_through_once_and_in_order():
    assert list(unhurried(range(1000))) == list(range(1000))
    assert list(Unhurried([3, 1, 2])) == [3, 1, 2]
    assert isinstance(Unhurried(), list)


def test_another_thread_runs_meanwhile_more_often_than_the_interpreter_would_have_it():
    end, turns = threading.Event(), 0

    def count() -> None:
        nonlocal turns
        while not end.is_set():
            # As whoever reads from a socket: gives the interpreter up, and needs it again.
            time.sleep(0)
            turns += 1

    other = threading.Thread(target=count)
    other.start()
    begun = time.perf_counter()
    for _ in unhurried(repeat(None)):
        if time.perf_counter() - begun > 0.5:
            break
    end.set()
    other.join()
    # Every five milliseconds without pauses: a hundred.
    assert turns > 1000
