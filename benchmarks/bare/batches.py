"""When a bare server computes what: together what is just arriving, or each request where it arrives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any, TypeAlias

import grpc

from benchmarks.bare.net import Rows

_QUIET_TURNS = 16
_MOST = 64
_BUSY_POLL = 0.001

Compute: TypeAlias = Callable[[Rows], list[bytes]]


class AtOnce:
    """Requests that are each computed where they arrive, on a loop that stays awake: best for a caller who is alone."""

    def __init__(self, compute: Compute) -> None:
        self._compute = compute
        self._until = 0.0
        self._is_awake = False

    async def submit(self, request: object, _context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        """Compute one."""
        reply = self._compute([request])[0]
        self._until = perf_counter() + _BUSY_POLL
        if not self._is_awake:
            self._stay_awake()
        return reply

    def _stay_awake(self) -> None:
        self._is_awake = perf_counter() < self._until
        if self._is_awake:
            asyncio.get_running_loop().call_soon(self._stay_awake)


class Batches:
    """Requests that are computed together: where they arrive if the net is small, else on one other thread."""

    def __init__(self, compute: Compute, executor: ThreadPoolExecutor | None) -> None:
        self._compute = compute
        self._executor = executor
        self._waiting: list[tuple[Any, asyncio.Future[bytes]]] = []
        self._busy = False

    async def submit(self, request: object, _context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        """Have one computed."""
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[bytes] = loop.create_future()
        self._waiting.append((request, reply))
        if not self._busy:
            self._busy = True
            loop.call_soon(self._look_around, 1, 0)
        return await reply

    def _look_around(self, seen: int, quiet_turns: int) -> None:
        count = len(self._waiting)
        quiet_turns = quiet_turns + 1 if count == seen else 0
        if quiet_turns < _QUIET_TURNS and count < _MOST:
            asyncio.get_running_loop().call_soon(self._look_around, count, quiet_turns)
            return
        batch, self._waiting = self._waiting, []
        requests = [request for request, _ in batch]
        if self._executor is None:
            self._answer(batch, self._compute(requests))
        else:
            loop = asyncio.get_running_loop()
            future = self._executor.submit(self._compute, requests)
            future.add_done_callback(lambda done: loop.call_soon_threadsafe(self._answer, batch, done.result()))

    def _answer(self, batch: Sequence[tuple[Any, asyncio.Future[bytes]]], replies: Sequence[bytes]) -> None:
        self._busy = bool(self._waiting)
        if self._busy:
            asyncio.get_running_loop().call_soon(self._look_around, 0, 0)
        for (_, future), reply in zip(batch, replies, strict=True):
            future.set_result(reply)
