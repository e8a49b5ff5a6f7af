# Written by client/generate.py from gradserve/_async/transfers.py: edit that, and run `make sync`.
"""Carries state_dicts over gRPC's streams: their attempts, their timeouts, and their failures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from gradserve._errors import ResourceExhaustedError, UnavailableError
from gradserve._options import Timeout
from gradserve._progress import Progress, silent
from gradserve._reception import Reception, Sink
from gradserve._retries import ATTEMPTS, pause_after
from gradserve._sync.caller import Caller
from gradserve._threads.stall import StallGuard
from gradserve._threads.upload import upload
from gradserve.v1 import state_pb2

T = TypeVar("T")

Parts: TypeAlias = Callable[[], Iterator[state_pb2.LoadStateDictRequest]]
"""Gives the parts of one request, from the first, as often as it is asked."""


@dataclass(frozen=True)
class Transfers:
    """The transfers of one caller. Each may be repeated: a download changes nothing, an upload has a request id.

    A transfer has no time limit as a whole, only one for each time in which nothing moves.

    Attributes:
        caller: Who makes them.
        timeout: Seconds in which nothing moves, before the transfer fails.
    """

    caller: Caller
    timeout: Timeout

    def receive(self, request: state_pb2.GetStateDictRequest, sink: Sink, progress: Progress = silent) -> Reception:
        """Put a state_dict into a sink.

        Raises:
            Error: It failed; the sink then holds nothing of use.
        """
        return _retried(lambda: self._receive(request, Reception(sink), progress))

    def send(self, parts: Parts, progress: Progress = silent) -> state_pb2.LoadStateDictResponse:
        """Send a state_dict.

        Raises:
            Error: It failed.
            OSError: What gives the parts failed.
        """
        return _retried(lambda: self._send(_telling(parts(), progress)))

    def _receive(self, request: state_pb2.GetStateDictRequest, reception: Reception, progress: Progress) -> Reception:
        call_id, metadata = self.caller.identify()
        guard = StallGuard(self.caller.seconds(self.timeout), call_id)
        with self.caller.connection.calling(call_id):
            call = self.caller.connection.state.GetStateDict(request, metadata=metadata)
            with guard.watching(call):
                for part in call:
                    guard.touch()
                    reception.feed(part)
                    progress(reception.received_bytes, reception.total_bytes)
        reception.finish()
        return reception

    def _send(self, parts: Iterator[state_pb2.LoadStateDictRequest]) -> state_pb2.LoadStateDictResponse:
        call_id, metadata = self.caller.identify()
        guard = StallGuard(self.caller.seconds(self.timeout), call_id)
        with self.caller.connection.calling(call_id):
            return upload(self.caller.connection.state.LoadStateDict, parts, metadata, guard)


def _retried(attempt: Callable[[], T]) -> T:
    """Make an attempt, and up to four more while the server cannot be reached or asks to try again.

    Args:
        attempt: May be made again without harm: it changes nothing, or it carries a request id.

    Raises:
        Error: The last attempt failed, or one in a way that will not change.
    """
    for number in range(1, ATTEMPTS):
        try:
            return attempt()
        except (UnavailableError, ResourceExhaustedError) as error:
            pause = pause_after(error, number)
            if pause is None:
                raise
        time.sleep(pause)
    return attempt()


def _telling(
    parts: Iterator[state_pb2.LoadStateDictRequest], progress: Progress
) -> Iterator[state_pb2.LoadStateDictRequest]:
    """Give the parts, and tell how far they are before each."""
    sent_bytes = total_bytes = 0
    for part in parts:
        if part.HasField("header"):
            total_bytes = part.header.total_bytes
        sent_bytes += len(part.chunk)
        progress(sent_bytes, total_bytes)
        yield part
