"""One bidirectional call: requests go out as they are made, and each answer finds the future that waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

import grpc

from gradserve._async.caller import Caller
from gradserve._errors import CancelledError, DeadlineExceededError, Error, InternalError
from gradserve._event_loop.future import AsyncFuture
from gradserve._lost_status import told_by_server
from gradserve._status import from_call_error
from gradserve.v1 import inference_pb2

Item: TypeAlias = inference_pb2.ForwardStreamRequest | inference_pb2.GradientStreamRequest
Answer: TypeAlias = inference_pb2.ForwardStreamResponse | inference_pb2.GradientStreamResponse

Room: TypeAlias = asyncio.Semaphore
Lock: TypeAlias = nullcontext[None]
"""Between two awaits a task is alone."""

_SECONDS_TO_END: Final = 1.0


class _Expected(NamedTuple):
    """An answer that is to come: who waits for it, and what makes his result of the response in it."""

    future: AsyncFuture[Any]
    read: Callable[[Any], Any]


class BidiCall:
    """A call of ForwardStream or GradientStream. Any number of tasks may send; one of its own receives.

    Each request that was sent is settled: by its answer, by the end of the call, or by its own timeout.
    """

    def __init__(self, method: grpc.aio.StreamStreamMultiCallable[Any, Any], caller: Caller, room: Room) -> None:
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
        self._outgoing: Final = asyncio.Queue[Item | None]()
        self._end: Callable[[], Error] | None = None
        self._call_id, metadata = caller.identify()
        self._call: Final = method(self._requests(), metadata=metadata)
        self._receiver: Final = asyncio.create_task(self._receive(), name="gradserve-stream")

    async def send(self, item: Item, future: AsyncFuture[Any], read: Callable[[Any], Any]) -> None:
        """Send a request, once there is room for it.

        Args:
            item: The request, with an id of its own.
            future: What its answer settles.
            read: Makes the future's result of the response.

        Raises:
            DeadlineExceededError: There was no room before the future's deadline.
            Error: The call has ended.
        """
        try:
            async with asyncio.timeout(future.seconds_left()):
                await self._room.acquire()
        except TimeoutError:
            message = "no earlier request was answered in time"
            raise DeadlineExceededError(message, call_id=self._call_id) from None
        future.add_done_callback(partial(self._forget, item.id))
        if self._end is not None:
            future.cancel()
            raise self._end()
        self._expected[item.id] = _Expected(future, read)
        self._outgoing.put_nowait(item)

    async def close(self) -> None:
        """Send no more, wait until every request is settled, and end the call."""
        self._end = self._end or partial(CancelledError, "the stream is closed", call_id=self._call_id)
        self._outgoing.put_nowait(None)
        if self._expected:
            await asyncio.wait([expected.future for expected in self._expected.values()])
        # The server ends the call after its last answer; one that does not answer any more does not.
        await asyncio.wait([self._receiver], timeout=_SECONDS_TO_END)
        await self.cancel()

    async def cancel(self) -> None:
        """End the call now: what is not settled fails as CancelledError."""
        self._call.cancel()
        await asyncio.wait([self._receiver])

    async def _requests(self) -> AsyncIterator[Item]:
        while (item := await self._outgoing.get()) is not None:
            yield item

    def _forget(self, item_id: int, _: asyncio.Future[Any]) -> None:
        self._expected.pop(item_id, None)
        self._room.release()

    async def _receive(self) -> None:
        end: Callable[[], Error]
        end = partial(InternalError, "the stream ended before the answer", call_id=self._call_id)
        try:
            async for answer in self._call:
                self._settle(answer)
        except grpc.RpcError as error:
            end = partial(self._connection.failure, await told_by_server(self._call, error), self._call_id)
        except asyncio.CancelledError as error:
            end = partial(self._connection.failure, error, self._call_id)
        self._end = self._end or end
        # gRPC's own task waits for requests.
        self._outgoing.put_nowait(None)
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
        if not expected.future.done():
            expected.future.set_result(result)
