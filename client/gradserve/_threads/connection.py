"""A channel to a server, for calls that hold up the thread that makes them."""

from __future__ import annotations

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

    It connects when it is first used. Any number of threads may use it at once.

    Raises:
        OSError: A file of certificates cannot be read.
    """

    def __init__(self, options: ChannelOptions) -> None:
        self.options: Final = options
        self.metadata: Final = options.metadata
        self.closed = False
        # What GetServerInfo said, once somebody had to know. Two threads may both ask: they hear the same.
        self.limits: Limits | None = None
        self._channel: Final = _open(options)
        self.models: Final = model_pb2_grpc.ModelServiceStub(self._channel)
        self.inference: Final = inference_pb2_grpc.InferenceServiceStub(self._channel)
        self.state: Final = state_pb2_grpc.StateServiceStub(self._channel)

    def check_usable(self) -> None:
        """Refuse to call where no call can be made.

        Raises:
            ClientClosedError: There are no more calls.
        """
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
        except (grpc.RpcError, grpc.FutureCancelledError) as error:
            raise self.failure(error, call_id) from error
        except ValueError as error:
            # gRPC's own word for a channel that another thread has closed.
            if not self.closed:
                raise
            raise ClientClosedError("the client is closed") from error

    def failure(self, error: grpc.RpcError | grpc.FutureCancelledError, call_id: str) -> Error:
        """Return what a failed call means to its caller."""
        if isinstance(error, grpc.RpcError):
            failure = from_rpc_error(error, call_id)
        else:
            failure = CancelledError("the call was cancelled", call_id=call_id)
        if self.closed and isinstance(failure, CancelledError):
            return ClientClosedError("the client was closed during the call", call_id=call_id)
        return failure

    def close(self) -> None:
        """End the channel, and with it every call that still runs; a second time does nothing."""
        self.closed = True
        self._channel.close()


def _open(options: ChannelOptions) -> grpc.Channel:
    if options.tls is None:
        return grpc.insecure_channel(options.target, channel_arguments(options))
    return grpc.secure_channel(options.target, options.tls.credentials(), channel_arguments(options))
