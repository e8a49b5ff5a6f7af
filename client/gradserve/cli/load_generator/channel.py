"""A channel for calls in great number."""

from __future__ import annotations

import grpc

from gradserve._channel import channel_arguments
from gradserve._options import ChannelOptions

__all__ = ["open_channel"]


def open_channel(options: ChannelOptions) -> grpc.aio.Channel:
    """Open a channel with a connection of its own, on which no call is tried again.

    Raises:
        OSError: A file of certificates cannot be read.
    """
    arguments = [*channel_arguments(options), ("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
    if options.tls is None:
        return grpc.aio.insecure_channel(options.target, arguments)
    return grpc.aio.secure_channel(options.target, options.tls.credentials(), arguments)
