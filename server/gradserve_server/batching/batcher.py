"""The requests to one model: computed at once where that is cheapest, else let in, queued, and computed in batches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from gradserve_server.batching import policy
from gradserve_server.batching.computation import answers
from gradserve_server.batching.entry import Batch, Entry, too_late
from gradserve_server.batching.fair_queue import FairQueue
from gradserve_server.batching.pace import Pace
from gradserve_server.batching.request import Request
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
        self._last_batch = 0
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
        if self._is_computed_at_once(hosted, work):
            return self._compute_at_once(request, hosted, work)
        entry = self._admit(request, hosted, work)
        entry.answer.add_done_callback(lambda _: self._queue.discard(entry))
        self._wake_up()
        return entry.answer

    def _is_computed_at_once(self, hosted: HostedModel, work: Work[Any]) -> bool:
        if work.key is None or self._config.max_queue_delay > 0 or not hosted.device.is_cpu:
            return False
        return policy.is_tiny(work.cost) or (policy.is_small(work.cost) and self._is_lone())

    def _is_lone(self) -> bool:
        if self._batch is not None or self._queue:
            return False
        return policy.is_lone(last_batch=self._last_batch, at_once=self._at_once)

    def _compute_at_once(self, request: Request[Any, Any, ReplyT], hosted: HostedModel, work: Work[Any]) -> ReplyT:
        left = request.origin.seconds_left
        if left is not None and left <= 0:
            raise too_late()
        hosted.check_read(work.call.if_version)
        started = time.monotonic()
        (result,) = request.operation.compute(hosted.model, (work,))
        seconds = time.monotonic() - started
        self._at_once += 1
        request.rows, request.queue_seconds = work.rows, 0.0
        self._instruments.batch_computed(BatchFact(hosted.name, request.operation.name, "single", work.rows, seconds))
        if isinstance(result, ServiceError):
            raise result
        return request.answer(result, hosted.version)

    def _admit(self, request: Request[Any, Any, Any], hosted: HostedModel, work: Work[Any]) -> Entry:
        origin, now, left = request.origin, time.monotonic(), self._config.max_deadline
        if (own_left := origin.seconds_left) is not None:
            left = min(left, own_left)
        if left <= 0:
            raise too_late()
        wait = self._seconds_before(origin.caller, work.cost, now)
        if policy.is_hopeless(wait, left):
            message = f"the request would wait for about {wait:.3g} s, and its deadline is in {left:.3g} s"
            raise ResourceExhausted(message, reason="DEADLINE_TOO_NEAR", retry_after=wait)
        answer = asyncio.get_running_loop().create_future()
        entry = Entry(request, hosted, work, now, now + left, origin.caller, answer)
        for given_up in self._queue.offer(entry):
            refusal = ResourceExhausted("the model's queue is full", reason="QUEUE_FULL", retry_after=wait)
            if given_up is entry:
                raise refusal
            given_up.settle(refusal)
        return entry

    def _seconds_before(self, caller: str, cost: int, now: float) -> float:
        running = 0.0
        if self._batch is not None:
            running = max(0.0, self._pace.seconds(self._batch.cost) - (now - self._batch.started))
        return running + self._pace.seconds(self._queue.cost_before(caller, cost))

    def _wake_up(self) -> None:
        if self._batch is None and self._soon is None:
            # Not at once: others may arrive in this turn of the loop.
            self._soon = asyncio.get_running_loop().call_soon(self._release)

    def _release(self) -> None:
        self._forget_calls()
        while self._batch is None and self._queue:
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

    def _forget_calls(self) -> None:
        for call in (self._soon, self._later):
            if call is not None:
                call.cancel()
        self._soon = self._later = None

    def _start(self, taken: Sequence[Entry], reason: ReleaseReason) -> None:
        hosted = self._current()
        if not (entries := [entry for entry in taken if _is_ready(entry, hosted)]):
            return
        batch = self._batch = Batch(hosted, entries, time.monotonic(), reason)
        for entry in entries:
            entry.request.rows, entry.request.queue_seconds = entry.rows, batch.started - entry.arrived
        loop = asyncio.get_running_loop()

        def finished(future: Future[list[Any]]) -> None:
            loop.call_soon_threadsafe(self._finish, batch, future)

        hosted.device.executor.submit(answers, batch).add_done_callback(finished)

    def _finish(self, batch: Batch, future: Future[list[Any]]) -> None:
        seconds = time.monotonic() - batch.started
        self._batch, self._last_batch, self._at_once = None, max(len(batch.entries), len(self._queue)), 0
        self._pace.observe(batch.cost, seconds)
        self._instruments.batch_computed(batch.fact(seconds))
        # The device first: it need not wait until the answers are on their way.
        self._release()
        found = [_stopped()] * len(batch.entries) if future.cancelled() else future.result()
        for entry, answer in zip(batch.entries, found, strict=True):
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
