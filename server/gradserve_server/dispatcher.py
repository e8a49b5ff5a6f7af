"""From a model's name and a request to its reply."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from gradserve_server.batching.batcher import Batcher
from gradserve_server.batching.request import Request
from gradserve_server.config import BatchingConfig
from gradserve_server.registry import Registry

ReplyT = TypeVar("ReplyT")


class Dispatcher:
    """Hands each request to the batcher of its model. A model that is deleted answers those that it has let in."""

    def __init__(self, registry: Registry, config: BatchingConfig) -> None:
        self._registry = registry
        self._config = config

    def submit(self, model: str, request: Request[Any, Any, ReplyT]) -> ReplyT | asyncio.Future[ReplyT]:
        """Have a model compute a request.

        Returns:
            The reply, or where it has to wait, the future of its reply or its refusal, which may be cancelled.

        Raises:
            ServiceError: If there is no such model, or it refuses the request.
        """
        slot = self._registry.slot(model, field_path="model")
        if slot.batcher is None:
            self._registry.get(model, field_path="model")
            slot.batcher = Batcher(slot.current, self._config)
        return slot.batcher.submit(request)
