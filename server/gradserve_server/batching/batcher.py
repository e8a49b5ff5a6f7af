"""The requests to one model: computed at once where that is cheapest, else let in, queued, and computed in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from time import perf_counter
from typing import Any, TypeAlias, TypeVar

from gradserve_server.batching import policy
from gradserve_server.batching.admission import Admission
from gradserve_server.batching.answer import Answer
from gradserve_server.batching.busy_poll import BusyPoll
from gradserve_server.batching.computation import answers, computed_at_once
from gradserve_server.batching.entry import Batch, Entry
from gradserve_server.batching.request import Request
from gradserve_server.config import BatchingConfig
from gradserve_server.engine.work import Work
from gradserve_server.errors import ServiceError, Unavailable
from gradserve_server.facts import Instruments, QueueState, ReleaseReason
from gradserve_server.hosted import HostedModel

ReplyT = TypeVar("ReplyT")

Ended: TypeAlias = Callable[[Request[Any, Any, Any], BaseException | None], None]
"""Told of the end of each request: None, or why it has no reply."""


class Batcher:
    """Answers the requests to one model, in batches of its own making. Belongs to one event loop.

    While the device computes one batch, the next collects: nobody waits for a batch to fill, unless `max_queue_delay`
    says so. What is decided, and from what, is in `policy`; who is let in, in `Admission`; who is next, in `FairQueue`.

    A request that comes is put down first, and read, checked and let in together with those that come with it: a step
    that is taken for one after the other finds what it needs in the processor's caches.
    """

    def __init__(
        self, current: Callable[[], HostedModel], config: BatchingConfig, instruments: Instruments, ended: Ended
    ) -> None:
        """Start with nothing to do.

        Args:
            current: Gives the model as it is when a batch is released.
            config: The sizes of batches and of the queue.
            instruments: Told of each batch.
            ended: Told of each request.
        """
        self._current = current
        self._config = config
        self._instruments = instruments
        self._ended = ended
        self._arrived: list[Answer] = []
        # Those that have been read, until they are answered.
        self._entries: dict[Answer, Entry] = {}
        self._admission = Admission(config)
        self._queue = self._admission.queue
        self._busy_poll = BusyPoll(config.busy_poll)
        self._next: asyncio.Handle | None = None
        self._window: asyncio.TimerHandle | None = None
        self._latest_cost = 0
        self._singles = 0
        self._at_once = 0
        self._draining = False

    @property
    def waiting(self) -> QueueState:
        """What waits."""
        return QueueState(len(self._queue), self._queue.rows, self._config.max_queue_rows)

    def drain(self) -> None:
        """Let no request wait for others from now on, as the server is stopping."""
        self._draining = True
        if self._queue:
            self._look()

    def submit(self, request: Request[Any, Any, ReplyT]) -> ReplyT | asyncio.Future[ReplyT]:
        """Have a request computed.

        Returns:
            The reply, or where it has to wait, the future of its reply or its refusal. Whoever cancels the future
            leaves the queue; what is on the device already goes on to its end.

        Raises:
            ServiceError: If the request is refused before it has to wait.
        """
        if self._is_lone():
            return self._answer_lone(request)
        answer = Answer(request, self._give_up)
        self._arrived.append(answer)
        if self._next is None:
            self._look()
        return answer

    def _is_lone(self) -> bool:
        if self._admission.batch is not None or self._queue or self._arrived:
            return False
        return policy.is_lone(singles=self._singles, at_once=self._at_once)

    def _answer_lone(self, request: Request[Any, Any, ReplyT]) -> ReplyT | asyncio.Future[ReplyT]:
        try:
            hosted, work = self._prepared(request)
            if not (self._is_computed_here(hosted, work.key) and policy.is_small(work.cost)):
                answer = Answer(request, self._give_up)
                self._admit(answer, hosted, work)
                self._look()
                return answer
            reply = self._compute_at_once(request, hosted, work)
        except Exception as error:
            self._ended(request, error)
            raise
        self._ended(request, None)
        self._busy_poll.answered(request.arrived)
        return reply

    def _prepared(self, request: Request[Any, Any, Any]) -> tuple[HostedModel, Work[Any]]:
        hosted = self._current()
        hosted.check_serving()
        return hosted, request.operation.prepare(hosted.model, request.read())

    def _is_computed_here(self, hosted: HostedModel, key: Hashable | None) -> bool:
        """Whether the event loop's thread may compute it."""
        return key is not None and hosted.device.is_cpu and self._config.max_queue_delay <= 0

    def _compute_at_once(self, request: Request[Any, Any, ReplyT], hosted: HostedModel, work: Work[Any]) -> ReplyT:
        result = computed_at_once(request, hosted, work)
        self._at_once += 1
        if request.batch is not None:
            self._instruments.batch_computed(request.batch)
        if isinstance(result, ServiceError):
            raise result
        return request.answer(result, hosted.version)

    def _look(self) -> None:
        """See to what has come: soon if the device is free, and now and then while it is busy."""
        loop = asyncio.get_running_loop()
        if self._next is not None:
            self._next.cancel()
        if self._admission.batch is None:
            self._next = loop.call_soon(self._look_around, len(self._arrived), 0)
        else:
            self._next = loop.call_later(policy.SECONDS_BETWEEN_LOOKS, self._look_while_busy)

    def _look_while_busy(self) -> None:
        self._next = None
        self._take_in()

    def _look_around(self, arrived: int, quiet_turns: int) -> None:
        """Take in and release what is there once nobody has come for some turns of the loop."""
        count = len(self._arrived)
        quiet_turns = quiet_turns + 1 if arrived == count else 0
        full = self._queue.rows >= self._config.max_batch_rows
        # What those who have just come ask for is not known yet: much the same as the one before, most likely.
        cost = self._queue.cost + count * self._latest_cost
        if full or policy.are_all_here(quiet_turns, requests=len(self._queue) + count, cost=cost):
            self._next = None
            self._take_in()
            self._release()
        else:
            self._next = asyncio.get_running_loop().call_soon(self._look_around, count, quiet_turns)

    def _take_in(self) -> None:
        arrived, self._arrived = self._arrived, []
        for answer in arrived:
            if not answer.done():
                try:
                    self._admit(answer, *self._prepared(answer.request))
                except Exception as error:  # noqa: BLE001 - it belongs to who asked, and ends at his call's boundary
                    self._settle(answer, error)

    def _admit(self, answer: Answer, hosted: HostedModel, work: Work[Any]) -> None:
        origin = answer.request.origin
        deadline = perf_counter() + self._admission.seconds_left(origin)
        entry = Entry(answer, hosted, work, deadline, origin.caller)
        self._latest_cost = work.cost
        gone, refusal = self._admission.admit(entry)
        self._entries[answer] = entry
        for other in gone:
            self._settle(other.answer, refusal)

    def _give_up(self, answer: Answer) -> None:
        if (entry := self._entries.pop(answer, None)) is not None:
            self._queue.discard(entry)
        self._ended(answer.request, asyncio.CancelledError())

    def _release(self) -> None:
        if self._window is not None:
            self._window.cancel()
        if not self._queue or self._admission.batch is not None:
            return
        waited = perf_counter() - self._queue.oldest_arrival()
        decision = policy.release(
            self._queue.rows,
            waited,
            max_rows=self._config.max_batch_rows,
            max_delay=self._config.max_queue_delay,
            draining=self._draining,
        )
        if not isinstance(decision, str):
            self._window = asyncio.get_running_loop().call_later(decision, self._release)
            return
        self._start(self._queue.take(self._config.max_batch_rows), decision)
        # What could not go with it comes in a later turn: others have calls in this loop, too.
        if self._queue and self._admission.batch is None:
            self._look()

    def _start(self, taken: Sequence[Entry], reason: ReleaseReason) -> None:
        hosted = self._current()
        if not (entries := [entry for entry in taken if self._is_ready(entry, hosted)]):
            return
        batch = Batch(hosted, entries, perf_counter(), reason)
        for entry in entries:
            entry.request.rows, entry.request.queue_seconds = entry.rows, batch.started - entry.arrived
        if self._is_computed_here(hosted, entries[0].key) and policy.is_tiny(batch.cost):
            self._finish(batch, answers(batch))
        else:
            self._admission.batch = batch
            self._hand_over(batch)

    def _is_ready(self, entry: Entry, hosted: HostedModel) -> bool:
        try:
            entry.check_again(hosted)
        except ServiceError as refusal:
            self._settle(entry.answer, refusal)
            return False
        return True

    def _hand_over(self, batch: Batch) -> None:
        self._busy_poll.stop()
        loop = asyncio.get_running_loop()

        def finished(future: Future[list[Any]]) -> None:
            loop.call_soon_threadsafe(self._take_back, batch, future)

        batch.hosted.device.executor.submit(answers, batch).add_done_callback(finished)

    def _take_back(self, batch: Batch, future: Future[list[Any]]) -> None:
        self._admission.batch = None
        # Those who are answered ask again, and may come along.
        self._finish(batch, [_stopped()] * len(batch.entries) if future.cancelled() else future.result())
        if self._queue or self._arrived:
            self._look()

    def _finish(self, batch: Batch, found: Sequence[Any]) -> None:
        seconds = perf_counter() - batch.started
        self._singles = self._singles + 1 if len(batch.entries) == 1 and not self._queue else 0
        self._at_once = 0
        self._admission.pace.observe(batch.cost, seconds)
        fact = batch.fact(seconds)
        self._instruments.batch_computed(fact)
        for entry, answer in zip(batch.entries, found, strict=True):
            entry.request.batch = fact
            self._settle(entry.answer, answer)

    def _settle(self, answer: Answer, found: object) -> None:
        """Give the caller, if he still waits, his reply or an exception."""
        if answer.done():
            return
        self._entries.pop(answer, None)
        if not isinstance(found, Exception):
            answer.set_result(found)
            self._ended(answer.request, None)
            return
        if isinstance(found, ServiceError):
            # Its frames, and those of what it came from, know the answer, which knows it: only a full collection would
            # free the request.
            found.__traceback__ = found.__cause__ = found.__context__ = None
        answer.set_exception(found)
        self._ended(answer.request, found)


def _stopped() -> Unavailable:
    return Unavailable("the server has stopped")
