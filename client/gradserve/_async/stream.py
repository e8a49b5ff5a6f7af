"""A stream of requests to one model."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar, overload

import numpy.typing as npt
from google.protobuf.duration_pb2 import Duration

from gradserve import _inference_requests as requests
from gradserve import _replies
from gradserve._arrays import Array, ArrayLike, TorchTensor
from gradserve._async.caller import Caller
from gradserve._derivative_results import Gradients
from gradserve._errors import CancelledError
from gradserve._event_loop.bidi import BidiCall, Lock, Room
from gradserve._event_loop.future import AsyncFuture, answer_of
from gradserve._inference_requests import LossKwargs, PerSampleResult
from gradserve._options import UNSET, Timeout
from gradserve.v1 import inference_pb2

T = TypeVar("T")

_LONGEST: Final = 315_576_000_000
"""The seconds of the longest google.protobuf.Duration."""


class AsyncStream:
    """Requests to one model that do not wait for each other's answers; made by `Model.stream`.

    The methods take what those of `Model` take, and give a `Future`, or an `AsyncFuture` that is awaited in turn, of
    what those return. `timeout=` is for each request, and counts from the method's call; the stream itself may stay
    open for any time. Answers may arrive in any order. Nothing is sent twice: a request that is refused because the
    server is full, or is not answered because the server stops, can be sent again.

    Any number of threads, or tasks, may use a stream. Leaving its block waits for the answers; leaving it by an
    exception, or `cancel()`, gives them up.
    """

    def __init__(self, model: str, caller: Caller, max_in_flight: int) -> None:
        if max_in_flight < 1:
            raise ValueError(f"max_in_flight must be positive, got {max_in_flight!r}")
        self._model: Final = model
        self._caller: Final = caller
        self._max_in_flight: Final = max_in_flight
        self._room: Final = Room(max_in_flight)
        self._ids: Final = itertools.count()
        self._lock: Final = Lock()
        self._closed = False
        self._calls: Final[dict[str, BidiCall]] = {}

    @overload
    async def forward(
        self,
        x: TorchTensor[T],
        *,
        training: bool = ...,
        seed: int | None = ...,
        if_version: int | None = ...,
        deterministic: bool = ...,
        timeout: Timeout = ...,
    ) -> AsyncFuture[T]: ...

    @overload
    async def forward(
        self,
        x: npt.ArrayLike,
        *,
        training: bool = ...,
        seed: int | None = ...,
        if_version: int | None = ...,
        deterministic: bool = ...,
        timeout: Timeout = ...,
    ) -> AsyncFuture[Array]: ...

    async def forward(
        self,
        x: ArrayLike,
        *,
        training: bool = False,
        seed: int | None = None,
        if_version: int | None = None,
        deterministic: bool = False,
        timeout: Timeout = UNSET,
    ) -> Any:
        """Have the model's output computed; as `Model.forward`, but for the answer, which is a future.

        While `max_in_flight` requests have no answer, it waits for one.

        Raises:
            InvalidArgumentError: The input has no form on the wire; the server's own refusals come with the answer.
            ResourceExhaustedError: The input is too large.
            DeadlineExceededError: No other request was answered in time.
            Error: The stream has ended.
        """
        array = requests.array("input", x)
        await self._caller.check_sizes((array,), timeout)
        run = requests.Run(training, seed, if_version, deterministic)
        request = requests.forward(self._model, array, run)
        seconds = self._caller.seconds(timeout)
        item = inference_pb2.ForwardStreamRequest(id=next(self._ids), request=request, timeout=_duration(seconds))
        future = AsyncFuture[Any](seconds)
        await self._call("ForwardStream").send(item, future, lambda response: _replies.array(response.output, x))
        return future

    @overload
    async def gradient(
        self,
        x: TorchTensor[T],
        target: ArrayLike | None = ...,
        *,
        loss: str | None = ...,
        loss_kwargs: LossKwargs | None = ...,
        reduction: str | None = ...,
        grad_output: ArrayLike | None = ...,
        wrt: str | Sequence[str] = ...,
        per_sample: bool = ...,
        per_sample_result: PerSampleResult | None = ...,
        max_norm: float | None = ...,
        is_grads_batched: bool = ...,
        return_output: bool = ...,
        training: bool = ...,
        seed: int | None = ...,
        if_version: int | None = ...,
        deterministic: bool = ...,
        timeout: Timeout = ...,
    ) -> AsyncFuture[Gradients[T]]: ...

    @overload
    async def gradient(
        self,
        x: npt.ArrayLike,
        target: ArrayLike | None = ...,
        *,
        loss: str | None = ...,
        loss_kwargs: LossKwargs | None = ...,
        reduction: str | None = ...,
        grad_output: ArrayLike | None = ...,
        wrt: str | Sequence[str] = ...,
        per_sample: bool = ...,
        per_sample_result: PerSampleResult | None = ...,
        max_norm: float | None = ...,
        is_grads_batched: bool = ...,
        return_output: bool = ...,
        training: bool = ...,
        seed: int | None = ...,
        if_version: int | None = ...,
        deterministic: bool = ...,
        timeout: Timeout = ...,
    ) -> AsyncFuture[Gradients[Array]]: ...

    async def gradient(  # noqa: PLR0913 - as many as the request has fields
        self,
        x: ArrayLike,
        target: ArrayLike | None = None,
        *,
        loss: str | None = None,
        loss_kwargs: LossKwargs | None = None,
        reduction: str | None = None,
        grad_output: ArrayLike | None = None,
        wrt: str | Sequence[str] = (),
        per_sample: bool = False,
        per_sample_result: PerSampleResult | None = None,
        max_norm: float | None = None,
        is_grads_batched: bool = False,
        return_output: bool = False,
        training: bool = False,
        seed: int | None = None,
        if_version: int | None = None,
        deterministic: bool = False,
        timeout: Timeout = UNSET,
    ) -> Any:
        """Have gradients computed; as `Model.gradient`, but for the answer, which is a future.

        While `max_in_flight` requests have no answer, it waits for one.

        Raises:
            Error: As in `forward`.
        """
        array = requests.array("input", x)
        objective = requests.objective_of(target, loss, loss_kwargs, reduction, grad_output)
        await self._caller.check_sizes((array, *objective.arrays), timeout)
        run = requests.Run(training, seed, if_version, deterministic)
        options = requests.GradientOptions(
            wrt, per_sample, per_sample_result, max_norm, is_grads_batched, return_output
        )
        request = requests.gradient(self._model, array, objective, run, options)
        seconds = self._caller.seconds(timeout)
        item = inference_pb2.GradientStreamRequest(id=next(self._ids), request=request, timeout=_duration(seconds))
        future = AsyncFuture[Any](seconds)
        await self._call("GradientStream").send(item, future, partial(_replies.gradients, kind_of=x))
        return future

    @overload
    def map(self, xs: Iterable[TorchTensor[T]], *, timeout: Timeout = ...) -> AsyncIterator[T]: ...

    @overload
    def map(self, xs: Iterable[npt.ArrayLike], *, timeout: Timeout = ...) -> AsyncIterator[Array]: ...

    async def map(self, xs: Iterable[ArrayLike], *, timeout: Timeout = UNSET) -> AsyncIterator[Any]:
        """Return the outputs of inputs, in their order, while the next are computed.

        Inputs are taken from `xs` as they can be sent, at most `max_in_flight` ahead of the outputs that are taken.

        Args:
            xs: Inputs as of `forward`.
            timeout: Seconds for each; default: the client's.

        Raises:
            Error: A request failed; those after it are given up.
        """
        ahead: deque[AsyncFuture[Any]] = deque()
        try:
            for x in xs:
                if len(ahead) == self._max_in_flight:
                    yield await answer_of(ahead.popleft())
                ahead.append(await self.forward(x, timeout=timeout))
            while ahead:
                yield await answer_of(ahead.popleft())
        finally:
            for future in ahead:
                future.cancel()

    async def close(self) -> None:
        """Send no more, and wait for the answers to what was sent, each for its own timeout at most."""
        for call in self._end():
            await call.close()

    async def cancel(self) -> None:
        """Send no more, and give up every answer that is not there: it is a CancelledError."""
        for call in self._end():
            await call.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            await self.close()
        else:
            await self.cancel()

    def __repr__(self) -> str:
        where = self._caller.connection.options.target
        return f"<gradserve.{type(self).__name__} to {self._model!r} at {where}{', closed' if self._closed else ''}>"

    def _call(self, method: Literal["ForwardStream", "GradientStream"]) -> BidiCall:
        """Return the call that such requests go over, which begins with the first of them."""
        with self._lock:
            if self._closed:
                raise CancelledError("the stream is closed")
            if method not in self._calls:
                self._calls[method] = BidiCall(
                    getattr(self._caller.connection.inference, method), self._caller, self._room
                )
            return self._calls[method]

    def _end(self) -> list[BidiCall]:
        with self._lock:
            self._closed = True
            return list(self._calls.values())


def _duration(seconds: float | None) -> Duration | None:
    if seconds is None:
        return None
    whole, fraction = divmod(min(seconds, _LONGEST), 1)
    return Duration(seconds=int(whole), nanos=int(fraction * 1e9))


AsyncStream.__module__ = "gradserve"  # where users import it from
