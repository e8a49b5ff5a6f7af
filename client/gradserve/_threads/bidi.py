"""One bidirectional call: requests go out as they are made, and each answer finds the future that waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent import futures
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, NamedTuple, TypeAlias

import grpc

from gradserve._errors import CancelledError, DeadlineExceededError, Error, InternalError
from gradserve._status import from_call_error
from gradserve._sync.caller import Caller
from gradserve._threads.future import Future
from gradserve.v1 import inference_pb2

Item: TypeAlias = inference_pb2.ForwardStreamRequest | inference_pb2.GradientStreamRequest
Answer: TypeAlias = inference_pb2.ForwardStreamResponse | inference_pb2.GradientStreamResponse

Room: TypeAlias = threading.Semaphore
Lock: TypeAlias = threading.Lock

_SECONDS_TO_END: Final = 1.0


class _Expected(NamedTuple):
    """An answer that is to come: who waits for it, and what makes his result of the response in it."""

    future: Future[Any]
    read: Callable[[Any], Any]


class BidiCall:
    """A call of ForwardStream or GradientStream. Any number of threads may send; one of its own receives.

    Each request that was sent is settled: by its answer, by the end of the call, or by its own timeout.
    """

    def __init__(self, method: grpc.StreamStreamMultiCallable[Any, Any], caller: Caller, room: Room) -> None:
        """Start the call.

        Args:
            method: What to call.
            caller: Who calls.
            room: Holds as many requests as may still be sent before one of them is settled.

        Raises:
            ClientClosedError: There are no more calls.
        """
        self._connection: Final = caller.connection
        self._room: Final = room
        self._expected: Final[dict[int, _Expected]] = {}
        self._outgoing: Final = SimpleQueue[Item | None]()
        self._lock: Final = Lock()
        self._end: Callable[[], Error] | None = None
        self._call_id, metadata = caller.identify()
        self._call: Final = method(iter(self._outgoing.get, None), metadata=metadata)
        self._receiver: Final = threading.Thread(target=self._receive, name="gradserve-stream", daemon=True)
        self._receiver.start()

    def send(self, item: Item, future: Future[Any], read: Callable[[Any], Any]) -> None:
        """Send a request, once there is room for it.

        Args:
            item: The request, with an id of its own.
            future: What its answer settles.
            read: Makes the future's result of the response.

        Raises:
            DeadlineExceededError: There was no room before the future's deadline.
            Error: The call has ended.
        """
        if not self._room.acquire(timeout=future.seconds_left()):
            raise DeadlineExceededError("no earlier request was answered in time", call_id=self._call_id)
        future.add_done_callback(partial(self._forget, item.id))
        with self._lock:
            end = self._end
            if end is None:
                self._expected[item.id] = _Expected(future, read)
                self._outgoing.put(item)
        if end is not None:
            future.cancel()
            raise end()

    def close(self) -> None:
        """Send no more, wait until every request is settled, and end the call."""
        with self._lock:
            self._end = self._end or partial(CancelledError, "the stream is closed", call_id=self._call_id)
            self._outgoing.put(None)
        for expected in list(self._expected.values()):
            with suppress(futures.CancelledError):
                expected.future.exception()
        # The server ends the call after its last answer; one that does not answer any more does not.
        self._receiver.join(_SECONDS_TO_END)
        self.cancel()

    def cancel(self) -> None:
        """End the call now: what is not settled fails as CancelledError."""
        self._call.cancel()
        self._receiver.join()

    def _forget(self, item_id: int, _: futures.Future[Any]) -> None:
        self._expected.pop(item_id, None)
        self._room.release()

    def _receive(self) -> None:
        end: Callable[[], Error]
        end = partial(InternalError, "the stream ended before the answer", call_id=self._call_id)
        try:
            for answer in self._call:
                self._settle(answer)
        except grpc.RpcError as error:
            end = partial(self._connection.failure, error, self._call_id)
        with self._lock:
            self._end = self._end or end
            # gRPC's own thread waits for requests.
            self._outgoing.put(None)
        for expected in list(self._expected.values()):
            expected.future.fail(end())

    def _settle(self, answer: Answer) -> None:
        expected = self._expected.get(answer.id)
        if expected is None:
            return  # It was given up, or its time was over.
        if answer.HasField("error"):
            expected.future.fail(from_call_error(answer.error, self._call_id))
            return
        try:
            result = expected.read(answer.response)
        except Exception as error:  # noqa: BLE001 - it belongs to whoever waits for the answer
            expected.future.fail(error)
            return
        with suppress(futures.InvalidStateError):
            expected.future.set_result(result)
