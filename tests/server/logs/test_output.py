"""Lines on their way to a reader who is slow, late, or gone."""

import logging
import os
import threading
from contextlib import suppress

from gradserve_server.logs.output import BackgroundHandler

SECONDS = 20


def write(handler: logging.Handler, text: str) -> None:
    handler.handle(logging.makeLogRecord({"msg": text}))


def test_a_reader_who_does_not_read_holds_nobody_up_and_is_told_what_he_missed():
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream, os.fdopen(reading) as reader:
        handler = BackgroundHandler(stream, max_lines=10)
        # Far more than the pipe and the handler hold: this would not end if it waited for the reader.
        for number in range(2000):
            write(handler, f"{number} {'x' * 1000}")
        found: list[str] = []
        while accounted(found) < 2000:
            found.append(reader.readline())
        write(handler, "the last one")
        assert reader.readline() == "the last one\n"
        handler.close()
    assert accounted(found) == 2000
    assert any(line.endswith(" lines are missing here: they came faster than they were read\n") for line in found)


def accounted(found: list[str]) -> int:
    """How many lines were read or are said to be missing."""
    return sum(int(line.split()[0]) if "missing" in line else 1 for line in found)


def test_closing_does_not_wait_for_ever_for_a_reader_who_does_not_read():
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream, os.fdopen(reading) as reader:
        handler = BackgroundHandler(stream, max_lines=1000)
        # More than a pipe holds.
        for number in range(500):
            write(handler, f"{number} {'x' * 1000}")
        closing = threading.Thread(target=handler.close)
        closing.start()
        closing.join(SECONDS)
        assert not closing.is_alive()
        # Its own thread goes on, and ends when somebody reads.
        assert [reader.readline().split()[0] for _ in range(500)] == [str(number) for number in range(500)]


def test_a_reader_who_is_gone_is_no_trouble():
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    handler = BackgroundHandler(stream)
    write(handler, "one")
    write(handler, "two")
    handler.close()
    with suppress(BrokenPipeError):
        stream.close()
