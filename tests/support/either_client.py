"""Runs a module's tests twice: with Client, and with an AsyncClient in its place.

For that each AsyncClient, and each model and stream of it, is wrapped in what waits for its answers, so that a test
calls it as it calls a Client. A module asks for it by `pytestmark = either_client`.
"""

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any, Self

import pytest

import gradserve

either_client = pytest.mark.parametrize("client_kind", ["sync", "async"], indirect=True, scope="module")


_AWAITED = (gradserve.AsyncClient, gradserve.AsyncModel, gradserve.AsyncStream)


class Waiting:
    """An AsyncClient or what it makes, for threads: its methods wait for what they await."""

    def __init__(self, awaited: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._awaited = awaited
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._awaited, name)
        return (lambda *args, **kwargs: self.wait_for(found, *args, **kwargs)) if callable(found) else found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.wait_for(self._awaited, *args, **kwargs)

    def __enter__(self) -> Self:
        return self.wait_for(self._awaited.__aenter__)

    def __exit__(self, *error: object) -> None:
        self.wait_for(self._awaited.__aexit__, *error)

    def __repr__(self) -> str:
        return repr(self._awaited).replace("<gradserve.Async", "<gradserve.")

    def wait_for(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function on the event loop, wait for what it awaits, and give its result in a form for threads."""

        async def call() -> Any:
            result = function(*args, **kwargs)
            return await result if _is_call(result) else result

        return self._for_threads(asyncio.run_coroutine_threadsafe(call(), self._loop).result())

    def _for_threads(self, result: Any) -> Any:
        if result is self._awaited:
            return self
        if isinstance(result, _AWAITED):
            return Waiting(result, self._loop)
        if isinstance(result, gradserve.AsyncFuture):
            return self._future(result)
        return self._iterator(result) if isinstance(result, AsyncIterator) else result

    def _future(self, awaited: gradserve.AsyncFuture[Any]) -> futures.Future[Any]:
        async def answer() -> Any:
            return await awaited

        return asyncio.run_coroutine_threadsafe(answer(), self._loop)

    def _iterator(self, awaited: AsyncIterator[Any]) -> Iterator[Any]:
        try:
            while (item := self.wait_for(anext, awaited, self)) is not self:
                yield item
        finally:
            self.wait_for(awaited.aclose)


def _is_call(result: object) -> bool:
    return inspect.isawaitable(result) and not isinstance(result, gradserve.AsyncFuture)


@contextmanager
def async_client_in_its_place() -> Iterator[None]:
    """While it lasts, `gradserve.Client` makes AsyncClients on one event loop, and `gradserve.deploy` takes them."""
    deploy = gradserve.deploy
    with asyncio.Runner() as runner, pytest.MonkeyPatch.context() as patch:
        loop = runner.get_loop()
        thread = threading.Thread(target=loop.run_forever, name="event-loop")
        thread.start()
        root = Waiting(None, loop)
        patch.setattr(
            gradserve, "Client", lambda *args, **kwargs: root.wait_for(gradserve.AsyncClient, *args, **kwargs)
        )
        patch.setattr(
            gradserve,
            "deploy",
            lambda module, name, client, **options: client.wait_for(deploy, module, name, client._awaited, **options),
        )
        try:
            yield
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
