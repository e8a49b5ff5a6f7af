"""Carries state_dicts over gRPC's streams: their attempts, their timeouts, and their failures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

import grpc

from gradserve._connection import Caller
from gradserve._errors import CancelledError, ClientClosedError, DeadlineExceededError, Error
from gradserve._options import Timeout
from gradserve._reception import Reception, Sink
from gradserve._retries import retried
from gradserve._stall import StallGuard
from gradserve.v1 import state_pb2

Progress: TypeAlias = Callable[[int, int], None]
"""Told, after each chunk, how many bytes have gone and how many there are; an attempt that failed starts again at 0."""

Parts: TypeAlias = Callable[[], Iterator[state_pb2.LoadStateDictRequest]]
"""Gives the parts of one request, from the first, as often as it is asked."""


def silent(_done: int, _total: int, /) -> None:
    """Tell nobody about the progress."""


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
        return retried(lambda: self._receive(request, Reception(sink), progress))

    def send(self, parts: Parts, progress: Progress = silent) -> state_pb2.LoadStateDictResponse:
        """Send a state_dict.

        Raises:
            Error: It failed.
            OSError: What gives the parts failed.
        """
        return retried(lambda: self._send(parts, progress))

    def _receive(self, request: state_pb2.GetStateDictRequest, reception: Reception, progress: Progress) -> Reception:
        guard = StallGuard(self.caller.seconds(self.timeout))
        call_id, metadata = self.caller.identify()
        with self.caller.connection.calling():
            call = self.caller.connection.state.GetStateDict(request, metadata=metadata)
        with guard.watching(call):
            try:
                for part in call:
                    guard.touch()
                    reception.feed(part)
                    progress(reception.received_bytes, reception.total_bytes)
            except grpc.RpcError as error:
                raise self._failure(error, guard, call_id) from error
        reception.finish()
        return reception

    def _send(self, parts: Parts, progress: Progress) -> state_pb2.LoadStateDictResponse:
        guard = StallGuard(self.caller.seconds(self.timeout))
        call_id, metadata = self.caller.identify()
        outgoing = _Outgoing(parts(), guard, progress)
        with self.caller.connection.calling():
            call = self.caller.connection.state.LoadStateDict.future(outgoing, metadata=metadata)
        with guard.watching(call):
            try:
                reply = call.result()
            except (grpc.RpcError, grpc.FutureCancelledError) as error:
                failure = outgoing.error or self._failure(error, guard, call_id)
                raise failure from error
        if outgoing.error is not None:
            raise outgoing.error
        return reply

    def _failure(self, error: grpc.RpcError | grpc.FutureCancelledError, guard: StallGuard, call_id: str) -> Error:
        if guard.fired:
            message = f"nothing has moved for {self.caller.seconds(self.timeout)} s"
            return DeadlineExceededError(message, call_id=call_id)
        if isinstance(error, grpc.RpcError):
            return self.caller.connection.failure(error, call_id)
        if self.caller.connection.closed:
            return ClientClosedError("the client was closed during the call", call_id=call_id)
        return CancelledError("the call was cancelled", call_id=call_id)


class _Outgoing(Iterator[state_pb2.LoadStateDictRequest]):
    """The parts of a request as gRPC's own thread asks for them, each when there is room for it.

    Attributes:
        error: What kept the parts from coming; gRPC would only log it.
    """

    def __init__(self, parts: Iterator[state_pb2.LoadStateDictRequest], guard: StallGuard, progress: Progress) -> None:
        self._parts: Final = parts
        self._guard: Final = guard
        self._progress: Final = progress
        self._sent_bytes = 0
        self._total_bytes = 0
        self.error: Exception | None = None

    def __next__(self) -> state_pb2.LoadStateDictRequest:
        self._guard.touch()
        try:
            part = next(self._parts)
            if part.HasField("header"):
                self._total_bytes = part.header.total_bytes
            self._sent_bytes += len(part.chunk)
            self._progress(self._sent_bytes, self._total_bytes)
        except StopIteration:
            raise
        except Exception as error:  # noqa: BLE001 - it is raised again where the caller waits
            self.error = error
            # Without its trailer the request is not whole, and the server refuses it.
            raise StopIteration from None
        return part
