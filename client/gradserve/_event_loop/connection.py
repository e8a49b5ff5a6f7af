"""A channel to a server, for calls that are awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import grpc

from gradserve._channel import channel_arguments
from gradserve._errors import CancelledError, ClientClosedError, Error
from gradserve._options import ChannelOptions
from gradserve._results import Limits
from gradserve._status import from_rpc_error
from gradserve.v1 import inference_pb2_grpc, model_pb2_grpc, state_pb2_grpc


class Connection:
    """One channel and its stubs, shared by a client, those derived from it, and their model handles.

    It connects when it is first used. It belongs to the event loop that runs where it is made.

    Raises:
        OSError: A file of certificates cannot be read.
        RuntimeError: No event loop runs.
    """

    def __init__(self, options: ChannelOptions) -> None:
        self.options: Final = options
        self.metadata: Final = options.metadata
        self.closed = False
        # What GetServerInfo said, once somebody had to know. Two tasks may both ask: they hear the same.
        self.limits: Limits | None = None
        self._loop: Final = _running_loop()
        self._channel: Final = _open(options)
        self.models: Final = model_pb2_grpc.ModelServiceStub(self._channel)
        self.inference: Final = inference_pb2_grpc.InferenceServiceStub(self._channel)
        self.state: Final = state_pb2_grpc.StateServiceStub(self._channel)

    def check_usable(self) -> None:
        """Refuse to call where no call can be made.

        Raises:
            RuntimeError: Another event loop runs.
            ClientClosedError: There are no more calls.
        """
        if _running_loop() is not self._loop:
            raise RuntimeError("an AsyncClient belongs to the event loop that it was made on: make one on each")
        if self.closed:
            raise ClientClosedError("the client is closed")

    @contextmanager
    def calling(self, call_id: str) -> Iterator[None]:
        """Make a call inside the block.

        Raises:
            Error: It failed.
        """
        try:
            yield
        except grpc.RpcError as error:
            raise self.failure(error, call_id) from error
        except asyncio.CancelledError as error:
            # It is the end of the call only where nobody wants the end of the task that waits for it.
            if not self.closed or _is_being_cancelled():
                raise
            raise self.failure(error, call_id) from error
        except grpc.aio.UsageError as error:
            # gRPC's own word for a channel that another task has closed.
            if not self.closed:
                raise
            raise ClientClosedError("the client is closed") from error

    def failure(self, error: grpc.RpcError | asyncio.CancelledError, call_id: str) -> Error:
        """Return what a failed call means to its caller."""
        if isinstance(error, grpc.RpcError):
            failure = from_rpc_error(error, call_id)
        else:
            failure = CancelledError("the call was cancelled", call_id=call_id)
        if self.closed and isinstance(failure, CancelledError):
            return ClientClosedError("the client was closed during the call", call_id=call_id)
        return failure

    async def close(self) -> None:
        """End the channel, and with it every call that still runs; a second time does nothing."""
        self.closed = True
        await self._channel.close()


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError as error:
        raise RuntimeError("no event loop runs here: make and use an AsyncClient inside of a coroutine") from error


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _open(options: ChannelOptions) -> grpc.aio.Channel:
    if options.tls is None:
        return grpc.aio.insecure_channel(options.target, channel_arguments(options))
    return grpc.aio.secure_channel(options.target, options.tls.credentials(), channel_arguments(options))
