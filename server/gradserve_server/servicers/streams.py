"""Bidirectional streams: requests as they come, answers as they are found, and a bound on how many are in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Protocol, TypeAlias, TypeVar

from gradserve_server.errors import Unavailable
from gradserve_server.rpc import Context
from gradserve_server.servicers.replies import failed_answer
from gradserve_server.status import failure_of


class Item(Protocol):
    """One request of a stream."""

    @property
    def id(self) -> int:
        """What tells the caller which request an answer is for."""


ItemT = TypeVar("ItemT", bound=Item)

Submit: TypeAlias = Callable[[ItemT], bytes | asyncio.Future[bytes]]
"""Has a request computed: gives the bytes of its answer, at once or later, or raises."""


class Streams:
    """The open streams of one server. Belongs to one event loop."""

    def __init__(self, max_requests: int) -> None:
        """Start without any.

        Args:
            max_requests: The most requests of one stream that are read and unanswered.
        """
        self._max_requests = max_requests
        self._open: set[_Stream] = set()

    def answers(self, requests: AsyncIterator[ItemT], submit: Submit[ItemT], context: Context) -> AsyncIterator[bytes]:
        """The answers to a stream of requests, in the order in which they are found.

        After them the iterator raises InvalidArgument if a request cannot be read, and Unavailable if the server stops.
        """
        stream = _Stream(self._max_requests)
        self._open.add(stream)

        def ended(_: Context) -> None:
            self._open.remove(stream)
            stream.give_up()

        # A generator would not learn in time that its caller has gone while an answer is on its way.
        context.add_done_callback(ended)  # type: ignore[arg-type] # its stub forgets that this is a protocol
        stream.start(requests, submit)
        return stream.answers()

    def stop(self) -> None:
        """Have no stream read any further; each ends when it has answered what it has read."""
        for stream in self._open:
            stream.stop()


class _Stream:
    """One stream: a task that reads requests and has them computed, and the answers on their way to the writer."""

    def __init__(self, max_requests: int) -> None:
        self._room = asyncio.Semaphore(max_requests)
        self._answers: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._waiting: set[asyncio.Future[bytes]] = set()
        self._reading = True
        self._end: BaseException | None = None

    def start(self, requests: AsyncIterator[ItemT], submit: Submit[ItemT]) -> None:
        """Begin to read."""
        self._reader = asyncio.create_task(self._read(requests, submit))
        self._reader.add_done_callback(self._has_read)

    async def answers(self) -> AsyncIterator[bytes]:
        """The answers as they are found; each makes room for one more request once it has been written."""
        while self._reading or self._waiting or not self._answers.empty():
            if (answer := await self._answers.get()) is not None:
                yield answer
                self._room.release()
        if self._end is not None:
            raise self._end

    def stop(self) -> None:
        """Read no further."""
        self._reader.cancel()

    def give_up(self) -> None:
        """Let go of everything: nobody waits for the answers any more."""
        self._reader.cancel()
        for future in self._waiting:
            future.cancel()

    async def _read(self, requests: AsyncIterator[ItemT], submit: Submit[ItemT]) -> None:
        async for item in requests:
            await self._room.acquire()
            self._take(item, submit)

    def _has_read(self, reader: asyncio.Task[None]) -> None:
        self._reading = False
        self._end = (
            Unavailable("the server is stopping", reason="STOPPING") if reader.cancelled() else reader.exception()
        )
        # No answer: it wakes the writer, who may have nothing to wait for any more.
        self._answers.put_nowait(None)

    def _take(self, item: ItemT, submit: Submit[ItemT]) -> None:
        try:
            answer = submit(item)
        except Exception as error:  # noqa: BLE001 - the boundary of one request, as that of a call
            self._answers.put_nowait(failed_answer(item.id, failure_of(error)))
            return
        if isinstance(answer, bytes):
            self._answers.put_nowait(answer)
            return
        self._waiting.add(answer)
        answer.add_done_callback(partial(self._settle, item.id))

    def _settle(self, request_id: int, future: asyncio.Future[bytes]) -> None:
        self._waiting.discard(future)
        if future.cancelled():
            return
        try:
            answer = future.result()
        except Exception as error:  # noqa: BLE001 - as above
            answer = failed_answer(request_id, failure_of(error))
        self._answers.put_nowait(answer)
