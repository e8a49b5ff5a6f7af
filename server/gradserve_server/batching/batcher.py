"""The requests to one model: computed at once where that is cheapest, else let in, queued, and computed in batches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from gradserve_server.batching import policy
from gradserve_server.batching.computation import answers
from gradserve_server.batching.entry import Batch, Entry, too_late
from gradserve_server.batching.fair_queue import FairQueue
from gradserve_server.batching.pace import Pace
from gradserve_server.batching.request import Origin, Request
from gradserve_server.config import BatchingConfig
from gradserve_server.engine.work import Work
from gradserve_server.errors import ResourceExhausted, ServiceError, Unavailable
from gradserve_server.facts import BatchFact, Instruments, QueueState, ReleaseReason
from gradserve_server.hosted import HostedModel

ReplyT = TypeVar("ReplyT")


class Batcher:
    """Answers the requests to one model, in batches of its own making. Belongs to one event loop.

    While the device computes one batch, the next collects: nobody waits for a batch to fill, unless `max_queue_delay`
    says so. What is decided, and from what, is in `policy`; who is next, in `FairQueue`.
    """

    def __init__(self, current: Callable[[], HostedModel], config: BatchingConfig, instruments: Instruments) -> None:
        """Start with nothing to do.

        Args:
            current: Gives the model as it is when a batch is released.
            config: The sizes of batches and of the queue.
            instruments: Told of each batch.
        """
        self._current = current
        self._config = config
        self._instruments = instruments
        self._queue: FairQueue[Entry] = FairQueue(config.max_queue_rows, config.max_queue_bytes)
        self._pace = Pace()
        self._batch: Batch | None = None
        self._soon: asyncio.Handle | None = None
        self._later: asyncio.TimerHandle | None = None
        self._arrived = 0
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
            self._wake_up()

    def submit(self, request: Request[Any, Any, ReplyT]) -> ReplyT | asyncio.Future[ReplyT]:
        """Have a request computed.

        Returns:
            The reply, or where it has to wait, the future of its reply or its refusal. Whoever cancels the future
            leaves the queue; what is on the device already goes on to its end.

        Raises:
            ServiceError: If the request is refused.
            ResourceExhausted: If there is no room in the queue, or not enough time before the deadline.
            DeadlineExceeded: If its time is over before it is computed.
        """
        hosted = self._current()
        hosted.check_serving()
        work = request.operation.prepare(hosted.model, request.read())
        if self._is_lone() and self._is_computed_here(hosted, work.key) and policy.is_small(work.cost):
            return self._compute_at_once(request, hosted, work)
        entry = self._admit(request, hosted, work)
        entry.answer.add_done_callback(lambda _: self._queue.discard(entry))
        self._arrived += 1
        self._wake_up()
        return entry.answer

    def _is_lone(self) -> bool:
        if self._batch is not None or self._queue:
            return False
        return policy.is_lone(singles=self._singles, at_once=self._at_once)

    def _is_computed_here(self, hosted: HostedModel, key: Hashable | None) -> bool:
        """Whether the event loop's thread may compute it."""
        return key is not None and hosted.device.is_cpu and self._config.max_queue_delay <= 0

    def _compute_at_once(self, request: Request[Any, Any, ReplyT], hosted: HostedModel, work: Work[Any]) -> ReplyT:
        left = request.origin.seconds_left
        if left is not None and left <= 0:
            raise too_late()
        hosted.check_read(work.call.if_version)
        started = time.monotonic()
        (result,) = request.operation.compute(hosted.model, (work,))
        seconds = time.monotonic() - started
        self._at_once += 1
        batch = BatchFact(hosted.name, request.operation.name, "single", work.rows, seconds, hosted.version)
        request.rows, request.queue_seconds, request.batch = work.rows, 0.0, batch
        self._instruments.batch_computed(batch)
        if isinstance(result, ServiceError):
            raise result
        return request.answer(result, hosted.version)

    def _admit(self, request: Request[Any, Any, Any], hosted: HostedModel, work: Work[Any]) -> Entry:
        caller, now = request.origin.caller, time.monotonic()
        left = self._seconds_left(request.origin)
        # What is more than it can be is quickly known, and enough where there is time.
        if policy.is_hopeless(self._running(now) + self._pace.seconds(2 * (self._queue.cost + work.cost)), left):
            self._check_hope(caller, work, now, left)
        entry = Entry(request, hosted, work, now, now + left, caller, asyncio.get_running_loop().create_future())
        for given_up in self._queue.offer(entry):
            wait = self._seconds_before(caller, work.cost, now)
            refusal = ResourceExhausted("the model's queue is full", reason="QUEUE_FULL", retry_after=wait)
            if given_up is entry:
                raise refusal
            given_up.settle(refusal)
        return entry

    def _seconds_left(self, origin: Origin) -> float:
        left = self._config.max_deadline
        if (own_left := origin.seconds_left) is not None:
            left = min(left, own_left)
        if left <= 0:
            raise too_late()
        return left

    def _check_hope(self, caller: str, work: Work[Any], now: float, left: float) -> None:
        wait = self._seconds_before(caller, work.cost, now)
        seconds = wait + self._pace.seconds(self._batch_cost(work))
        # Who need not wait is let in however slow the model has been: else nobody would learn that it is no more.
        if wait > 0 and policy.is_hopeless(seconds, left):
            message = f"the request would take about {seconds:.3g} s, and its deadline is in {left:.3g} s"
            raise ResourceExhausted(message, reason="DEADLINE_TOO_NEAR", retry_after=wait)

    def _batch_cost(self, work: Work[Any]) -> int:
        """That of the batch that it comes into: it is answered when all of that is, as far as others are there."""
        full = work.cost * self._config.max_batch_rows // max(1, work.rows)
        return max(work.cost, min(full, self._queue.cost + work.cost))

    def _seconds_before(self, caller: str, cost: int, now: float) -> float:
        return self._running(now) + self._pace.seconds(self._queue.cost_before(caller, cost))

    def _running(self, now: float) -> float:
        if self._batch is None:
            return 0.0
        return max(0.0, self._pace.seconds(self._batch.cost) - (now - self._batch.started))

    def _wake_up(self) -> None:
        if self._batch is None and self._soon is None:
            self._soon = asyncio.get_running_loop().call_soon(self._look_around, self._arrived, 0)

    def _look_around(self, arrived: int, quiet_turns: int) -> None:
        """Release what waits once nobody has come for some turns of the loop."""
        quiet_turns = quiet_turns + 1 if arrived == self._arrived else 0
        full = self._queue.rows >= self._config.max_batch_rows
        if full or policy.are_all_here(quiet_turns, requests=len(self._queue), cost=self._queue.cost):
            self._release()
        else:
            self._soon = asyncio.get_running_loop().call_soon(self._look_around, self._arrived, quiet_turns)

    def _release(self) -> None:
        self._forget_calls()
        if self._batch is not None or not self._queue:
            return
        waited = time.monotonic() - self._queue.oldest_arrival()
        decision = policy.release(
            self._queue.rows,
            waited,
            max_rows=self._config.max_batch_rows,
            max_delay=self._config.max_queue_delay,
            draining=self._draining,
        )
        if not isinstance(decision, str):
            self._later = asyncio.get_running_loop().call_later(decision, self._release)
            return
        self._start(self._queue.take(self._config.max_batch_rows), decision)
        # What could not go with it comes in a later turn: others have calls in this loop, too.
        if self._queue:
            self._wake_up()

    def _forget_calls(self) -> None:
        for call in (self._soon, self._later):
            if call is not None:
                call.cancel()
        self._soon = self._later = None

    def _start(self, taken: Sequence[Entry], reason: ReleaseReason) -> None:
        hosted = self._current()
        if not (entries := [entry for entry in taken if _is_ready(entry, hosted)]):
            return
        batch = Batch(hosted, entries, time.monotonic(), reason)
        for entry in entries:
            entry.request.rows, entry.request.queue_seconds = entry.rows, batch.started - entry.arrived
        if self._is_computed_here(hosted, entries[0].key) and policy.is_tiny(batch.cost):
            self._settle(batch, answers(batch))
        else:
            self._batch = batch
            self._hand_over(batch)

    def _hand_over(self, batch: Batch) -> None:
        loop = asyncio.get_running_loop()

        def finished(future: Future[list[Any]]) -> None:
            loop.call_soon_threadsafe(self._finish, batch, future)

        batch.hosted.device.executor.submit(answers, batch).add_done_callback(finished)

    def _finish(self, batch: Batch, future: Future[list[Any]]) -> None:
        self._batch = None
        found = [_stopped()] * len(batch.entries) if future.cancelled() else future.result()
        # Those who are answered ask again, and may come along.
        self._settle(batch, found)
        if self._queue:
            self._wake_up()

    def _settle(self, batch: Batch, found: Sequence[Any]) -> None:
        seconds = time.monotonic() - batch.started
        self._singles = self._singles + 1 if len(batch.entries) == 1 and not self._queue else 0
        self._at_once = 0
        self._pace.observe(batch.cost, seconds)
        fact = batch.fact(seconds)
        self._instruments.batch_computed(fact)
        for entry, answer in zip(batch.entries, found, strict=True):
            entry.request.batch = fact
            entry.settle(answer)


def _stopped() -> Unavailable:
    return Unavailable("the server has stopped")


def _is_ready(entry: Entry, hosted: HostedModel) -> bool:
    try:
        entry.check_again(hosted)
    except ServiceError as refusal:
        entry.settle(refusal)
        return False
    return True
