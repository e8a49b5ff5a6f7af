"""From a model's name and a request to its reply, and to what is told of it."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any, TypeVar
from weakref import WeakSet

from gradserve_server.batching.batcher import Batcher
from gradserve_server.batching.request import Request
from gradserve_server.config import BatchingConfig
from gradserve_server.errors import ServiceError
from gradserve_server.facts import Instruments, Outcome, RequestFact, outcome_of
from gradserve_server.registry import Registry
from gradserve_server.status import CODES

ReplyT = TypeVar("ReplyT")


class Dispatcher:
    """Hands each request to the batcher of its model. A model that is deleted answers those that it has let in."""

    def __init__(self, registry: Registry, config: BatchingConfig, instruments: Instruments) -> None:
        self._registry = registry
        self._config = config
        self._instruments = instruments
        # Of deleted models too, as long as anybody waits in them.
        self._batchers: WeakSet[Batcher] = WeakSet()
        self._draining = False

    def drain(self) -> None:
        """Let no request wait for others from now on, as the server is stopping."""
        self._draining = True
        for batcher in self._batchers:
            batcher.drain()

    def submit(self, request: Request[Any, Any, ReplyT]) -> ReplyT | asyncio.Future[ReplyT]:
        """Have its model compute a request.

        Returns:
            The reply, or where it has to wait, the future of its reply or its refusal, which may be cancelled.

        Raises:
            ServiceError: If there is no such model, or it refuses the request.
        """
        batcher = self._batcher(request.model)
        self._instruments.request_started(request.operation.name)
        return batcher.submit(request)

    def _batcher(self, model: str) -> Batcher:
        slot = self._registry.slot(model, field_path="model")
        if slot.batcher is None:
            self._registry.get(model, field_path="model")
            slot.batcher = Batcher(slot.current, self._config, self._instruments, self._ended)
            self._batchers.add(slot.batcher)
            if self._draining:
                slot.batcher.drain()
        return slot.batcher

    def _ended(self, request: Request[Any, Any, Any], error: BaseException | None) -> None:
        outcome: Outcome = "ok" if error is None else _outcome(request, error)
        reason = error.reason if isinstance(error, ServiceError) else ""
        ended = perf_counter()
        rows = request.rows if error is None else 0
        request.context.run(
            self._instruments.request_finished,
            RequestFact(
                request.model,
                request.operation.name,
                outcome,
                ended - request.arrived,
                rows,
                request.queue_seconds,
                request.finite,
                reason,
                request.batch,
                ended,
            ),
        )


def _outcome(request: Request[Any, Any, Any], error: BaseException) -> Outcome:
    if isinstance(error, ServiceError):
        return outcome_of(CODES[type(error)].name)
    if isinstance(error, Exception):
        return "error"
    # gRPC cancels a call both when its caller goes away and when its deadline passes.
    left = request.origin.seconds_left
    return "deadline" if left is not None and left <= 0 else "cancelled"
