"""Who is let into the queue of a model, and who is told at once that he would wait in vain."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from gradserve_server.batching import policy
from gradserve_server.batching.entry import Batch, Entry, too_late
from gradserve_server.batching.fair_queue import FairQueue
from gradserve_server.batching.pace import Pace
from gradserve_server.batching.request import Origin
from gradserve_server.config import BatchingConfig
from gradserve_server.engine.work import Work
from gradserve_server.errors import ResourceExhausted


class Admission:
    """Keeps the requests that wait, and refuses those for which there is no room or not enough time.

    Attributes:
        queue: Those that wait.
        pace: How fast they are computed.
        batch: What is being computed; None if the device is free.
    """

    def __init__(self, config: BatchingConfig) -> None:
        self._config = config
        self.queue: FairQueue[Entry] = FairQueue(config.max_queue_rows, config.max_queue_bytes)
        self.pace = Pace()
        self.batch: Batch | None = None

    def seconds_left(self, origin: Origin) -> float:
        """How long a request may wait for its answer.

        Raises:
            DeadlineExceeded: If its time is over.
        """
        left = self._config.max_deadline
        if (own_left := origin.seconds_left) is not None:
            left = min(left, own_left)
        if left <= 0:
            raise too_late()
        return left

    def admit(self, entry: Entry) -> tuple[list[Entry], ResourceExhausted | None]:
        """Let one wait, if there is hope and room for it.

        Returns:
            Those that must go to make room for it, and what to tell them.

        Raises:
            ResourceExhausted: If there is no room in the queue, or not enough time before the deadline.
        """
        now = perf_counter()
        left = entry.deadline - now
        # What is more than it can be is quickly known, and enough where there is time.
        if policy.is_hopeless(self._running(now) + self.pace.seconds(2 * (self.queue.cost + entry.cost)), left):
            self._check_hope(entry, now, left)
        gone = self.queue.offer(entry)
        if not gone:
            return gone, None
        wait = self._seconds_before(entry.caller, entry.cost, now)
        refusal = ResourceExhausted("the model's queue is full", reason="QUEUE_FULL", retry_after=wait)
        if entry in gone:
            raise refusal
        return gone, refusal

    def _check_hope(self, entry: Entry, now: float, left: float) -> None:
        wait = self._seconds_before(entry.caller, entry.cost, now)
        seconds = wait + self.pace.seconds(self._batch_cost(entry.work))
        # Who need not wait is let in however slow the model has been: else nobody would learn that it is no more.
        if wait > 0 and policy.is_hopeless(seconds, left):
            message = f"the request would take about {seconds:.3g} s, and its deadline is in {left:.3g} s"
            raise ResourceExhausted(message, reason="DEADLINE_TOO_NEAR", retry_after=wait)

    def _batch_cost(self, work: Work[Any]) -> int:
        """That of the batch that it comes into: it is answered when all of that is, as far as others are there."""
        full = work.cost * self._config.max_batch_rows // max(1, work.rows)
        return max(work.cost, min(full, self.queue.cost + work.cost))

    def _seconds_before(self, caller: str, cost: int, now: float) -> float:
        return self._running(now) + self.pace.seconds(self.queue.cost_before(caller, cost))

    def _running(self, now: float) -> float:
        if self.batch is None:
            return 0.0
        return max(0.0, self.pace.seconds(self.batch.cost) - (now - self.batch.started))
