"""Bidirectional streams: requests as they come, answers as they are found, and a bound on how many are in between."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, TypeVar

from gradserve_server.errors import Unavailable
from gradserve_server.rpc import Context
from gradserve_server.servicers.replies import failed_answer
from gradserve_server.status import failure_of

ItemT = TypeVar("ItemT")

Submit: TypeAlias = Callable[[ItemT], bytes | asyncio.Future[bytes]]
"""Has a request computed: gives the bytes of its answer, at once or later, or raises."""

Refuse: TypeAlias = Callable[[ItemT, Exception], bytes]
"""Gives the bytes that tell why a request has no answer, or raises what is to end the stream."""


def _refuse(item: Any, error: Exception) -> bytes:  # noqa: ANN401 - of any stream of gradserve.v1
    return failed_answer(item.id, failure_of(error))


class Streams:
    """The open streams of one server. Belongs to one event loop."""

    def __init__(self, max_requests: int) -> None:
        """Start without any.

        Args:
            max_requests: The most requests of one stream that are read and unanswered.
        """
        self._max_requests = max_requests
        self._open: set[_Stream] = set()

    def answers(
        self,
        requests: AsyncIterator[ItemT],
        submit: Submit[ItemT],
        context: Context,
        refuse: Refuse[ItemT] = _refuse,
        *,
        ordered: bool = False,
    ) -> AsyncIterator[bytes]:
        """The answers to a stream of requests: as they are found, or if `ordered`, in the order of the requests.

        After them the iterator raises InvalidArgument if a request cannot be read, Unavailable if the server stops, and
        what `refuse` raises.
        """
        stream = _Stream(self._max_requests, submit, refuse, ordered=ordered)
        self._open.add(stream)

        def ended(_: Context) -> None:
            self._open.remove(stream)
            stream.give_up()

        # A generator would not learn in time that its caller has gone while an answer is on its way.
        context.add_done_callback(ended)  # type: ignore[arg-type] # its stub forgets that this is a protocol
        stream.start(requests)
        return stream.answers()

    def stop(self) -> None:
        """Have no stream read any further; each ends when it has answered what it has read."""
        for stream in self._open:
            stream.stop()


@dataclass(slots=True)
class _Turn:
    """One request, and its answer once that is found."""

    item: Any
    answer: bytes | None = None


class _Stream:
    """One stream: a task that reads requests and has them computed, and the answers on their way to the writer."""

    def __init__(self, max_requests: int, submit: Submit[Any], refuse: Refuse[Any], *, ordered: bool) -> None:
        self._submit = submit
        self._refuse = refuse
        # Those whose answers wait for the ones before.
        self._turns: deque[_Turn] | None = deque() if ordered else None
        self._max_requests = max_requests
        # Those that are read and whose answers have not been written.
        self._unanswered = 0
        self._answers: deque[bytes] = deque()
        self._room = asyncio.Event()
        # There while the writer waits for answers, or for the end.
        self._news: asyncio.Future[None] | None = None
        self._waiting: set[asyncio.Future[bytes]] = set()
        self._reading = True
        self._end: BaseException | None = None

    def start(self, requests: AsyncIterator[object]) -> None:
        """Begin to read."""
        self._reader = asyncio.create_task(self._read(requests))
        self._reader.add_done_callback(self._has_read)

    async def answers(self) -> AsyncIterator[bytes]:
        """The answers as they are found; each makes room for one more request once it has been written."""
        while self._reading or self._waiting or self._answers:
            # Not for each answer: many come at the same time.
            if not self._answers:
                self._news = asyncio.get_running_loop().create_future()
                await self._news
            while self._answers:
                yield self._answers.popleft()
                self._unanswered -= 1
                self._room.set()
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

    async def _read(self, requests: AsyncIterator[object]) -> None:
        async for item in requests:
            while self._unanswered >= self._max_requests:
                self._room.clear()
                await self._room.wait()
            self._unanswered += 1
            self._take(item)

    def _has_read(self, reader: asyncio.Task[None]) -> None:
        self._reading = False
        if self._end is None:
            stopping = Unavailable("the server is stopping", reason="STOPPING")
            self._end = stopping if reader.cancelled() else reader.exception()
        # The writer may have nothing to wait for any more.
        self._wake()

    def _take(self, item: object) -> None:
        turn = _Turn(item)
        if self._turns is not None:
            self._turns.append(turn)
        try:
            answer = self._submit(item)
        except Exception as error:  # noqa: BLE001 - the boundary of one request, as that of a call
            self._fail(turn, error)
            return
        if isinstance(answer, bytes):
            self._give(turn, answer)
            return
        self._waiting.add(answer)
        answer.add_done_callback(partial(self._settle, turn))

    def _settle(self, turn: _Turn, future: asyncio.Future[bytes]) -> None:
        self._waiting.discard(future)
        if future.cancelled():
            return
        # Not raised: the frames of an exception that is know the future, which knows it.
        if isinstance(error := future.exception(), Exception):
            self._fail(turn, error)
        else:
            self._give(turn, future.result())

    def _fail(self, turn: _Turn, error: Exception) -> None:
        try:
            answer = self._refuse(turn.item, error)
        except Exception as end:  # noqa: BLE001 - it ends the stream, at the boundary of its call
            self._end = end
            self.give_up()
            # As above.
            self._wake()
        else:
            self._give(turn, answer)

    def _give(self, turn: _Turn, answer: bytes) -> None:
        turn.answer = answer
        if self._turns is None:
            self._answers.append(answer)
        else:
            while self._turns and (first := self._turns[0].answer) is not None:
                self._answers.append(first)
                self._turns.popleft()
        self._wake()

    def _wake(self) -> None:
        """Have the writer look."""
        if self._news is not None and not self._news.done():
            self._news.set_result(None)
