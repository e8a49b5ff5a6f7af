# Written by client/generate.py from gradserve/_async/caller.py: edit that, and run `make sync`.
"""Carries calls to a server: their deadlines, their ids, and what is too large for them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import grpc

from gradserve import _replies, _sizes
from gradserve._arrays import Array
from gradserve._options import UNSET, CallOptions, Timeout, check_timeout
from gradserve._results import Limits
from gradserve._status import CALL_ID_KEY
from gradserve._threads.connection import Connection
from gradserve._trace_context import trace_context
from gradserve.v1 import model_pb2

Request = TypeVar("Request")
Reply = TypeVar("Reply")
Metadata: TypeAlias = tuple[tuple[str, str | bytes], ...]


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
        with self.connection.calling(call_id):
            return method(request, timeout=seconds, metadata=metadata, wait_for_ready=wait_for_ready)

    def seconds(self, timeout: Timeout) -> float | None:
        """Return a call's timeout, or the client's where the call has none of its own."""
        return self.options.timeout if timeout is UNSET else check_timeout(timeout)

    def identify(self) -> tuple[str, Metadata]:
        """Return an id for one more call, and the metadata to send with it.

        Raises:
            ClientClosedError: There are no more calls.
        """
        self.connection.check_usable()
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
