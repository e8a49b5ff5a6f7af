"""Carries calls to a server: their deadlines, their ids, and their failures."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

import grpc

from gradserve import _replies, _sizes
from gradserve._arrays import Array
from gradserve._channel import open_channel
from gradserve._errors import CancelledError, ClientClosedError, Error
from gradserve._options import UNSET, CallOptions, ChannelOptions, Timeout, check_timeout
from gradserve._results import Limits
from gradserve._status import CALL_ID_KEY, from_rpc_error
from gradserve._trace_context import trace_context
from gradserve.v1 import inference_pb2_grpc, model_pb2, model_pb2_grpc, state_pb2_grpc

Request = TypeVar("Request")
Reply = TypeVar("Reply")
Metadata: TypeAlias = tuple[tuple[str, str | bytes], ...]


class Connection:
    """One channel and its stubs, shared by a client, those derived from it, and their model handles.

    It connects when it is first used. Any number of threads may use it at once.
    """

    def __init__(self, options: ChannelOptions) -> None:
        self.options: Final = options
        self.metadata: Final = (("authorization", f"Bearer {options.token}"),) if options.token else ()
        self.closed = False
        # What GetServerInfo said, once somebody had to know. Two threads may both ask: they hear the same.
        self.limits: Limits | None = None
        self._channel: Final = open_channel(options)
        self.models: Final = model_pb2_grpc.ModelServiceStub(self._channel)
        self.inference: Final = inference_pb2_grpc.InferenceServiceStub(self._channel)
        self.state: Final = state_pb2_grpc.StateServiceStub(self._channel)

    def failure(self, error: grpc.RpcError, call_id: str) -> Error:
        """Return what a failed call means to its caller."""
        failure = from_rpc_error(error, call_id)
        if self.closed and isinstance(failure, CancelledError):
            return ClientClosedError("the client was closed during the call", call_id=call_id)
        return failure

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Begin a call inside the block.

        Raises:
            ClientClosedError: Another thread has closed the client; gRPC itself raises a ValueError.
        """
        try:
            yield
        except ValueError as error:
            if not self.closed:
                raise
            raise ClientClosedError("the client is closed") from error

    def close(self) -> None:
        """End the channel, and with it every call that still runs; a second time does nothing."""
        self.closed = True
        self._channel.close()


@dataclass(frozen=True)
class Caller:
    """A connection and how to call over it: what a client and its model handles have in common."""

    connection: Connection
    options: CallOptions

    def call(
        self,
        method: grpc.UnaryUnaryMultiCallable[Request, Reply],
        request: Request,
        timeout: Timeout,
        *,
        wait_for_ready: bool = False,
    ) -> Reply:
        """Make one call and return its reply.

        Raises:
            Error: It failed; the class tells how.
        """
        seconds = self.seconds(timeout)
        call_id, metadata = self.identify()
        try:
            with self.connection.calling():
                return method(request, timeout=seconds, metadata=metadata, wait_for_ready=wait_for_ready)
        except grpc.RpcError as error:
            raise self.connection.failure(error, call_id) from error

    def seconds(self, timeout: Timeout) -> float | None:
        """Return a call's timeout, or the client's where the call has none of its own."""
        return self.options.timeout if timeout is UNSET else check_timeout(timeout)

    def identify(self) -> tuple[str, Metadata]:
        """Return an id for one more call, and the metadata to send with it.

        Raises:
            ClientClosedError: There are no more calls.
        """
        if self.connection.closed:
            raise ClientClosedError("the client is closed")
        call_id = secrets.token_hex(8)
        return call_id, (*self.connection.metadata, *self.options.metadata, *trace_context(), (CALL_ID_KEY, call_id))

    def check_sizes(self, arrays: tuple[Array, ...], timeout: Timeout) -> None:
        """Refuse what the server would refuse for its size, before it is copied and sent.

        Asks the server for its limits, once, when something large is first sent.

        Raises:
            ResourceExhaustedError: A limit is exceeded.
        """
        if _sizes.are_large(arrays):
            _sizes.check(arrays, self._limits(timeout), self.connection.options.max_message_bytes)

    def chunk_bytes(self, total_bytes: int, timeout: Timeout) -> int:
        """Return how much of so many bytes to send at a time; asks the server for its limits where they matter."""
        if total_bytes <= _sizes.FITS_EVERYWHERE_BYTES:
            return _sizes.FITS_EVERYWHERE_BYTES
        return _sizes.chunk_bytes(self._limits(timeout), self.connection.options.max_message_bytes)

    def _limits(self, timeout: Timeout) -> Limits:
        if self.connection.limits is None:
            reply = self.call(self.connection.models.GetServerInfo, model_pb2.GetServerInfoRequest(), timeout)
            self.connection.limits = _replies.server_info(reply).limits
        return self.connection.limits
