"""What every gRPC channel is opened with: sizes, keepalive, health, retries."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from gradserve.__about__ import __version__
from gradserve._options import ChannelOptions

# Only calls that change nothing may be repeated: a write could have been done before its reply was lost. The streams of
# weights are missing: gRPC gives up repeating once they outgrow its buffer, so `_transfers` repeats them itself.
_READ_ONLY: Final = (
    {"service": "gradserve.v1.InferenceService"},
    {"service": "gradserve.v1.ModelService", "method": "GetModel"},
    {"service": "gradserve.v1.ModelService", "method": "ListModels"},
    {"service": "gradserve.v1.ModelService", "method": "GetServerInfo"},
    {"service": "gradserve.v1.StateService", "method": "ListCheckpoints"},
)

# At most five attempts is gRPC's own limit (gRFC A6). RESOURCE_EXHAUSTED may stand here because the server sends
# `grpc-retry-pushback-ms` with each: the pause to make where its queue is full, -1 where trying again is no use.
_RETRY_POLICY: Final = {
    "maxAttempts": 5,
    "initialBackoff": "0.1s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
}

# gRPC itself watches grpc.health.v1, so a server that starts or drains gets no calls; pick_first, gRPC's default
# policy, would ignore it.
_SERVICE_CONFIG: Final = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "healthCheckConfig": {"serviceName": ""},
    "methodConfig": [{"name": _READ_ONLY, "retryPolicy": _RETRY_POLICY}],
}

# Above its buffer a call is not retried, silently; gRPC's default is 256 KiB.
_RETRY_BUFFER_BYTES: Final = 8 * 1024 * 1024


def channel_arguments(options: ChannelOptions) -> Sequence[tuple[str, Any]]:
    """Return gRPC's own options for a channel."""
    return (
        ("grpc.max_send_message_length", options.max_message_bytes),
        ("grpc.max_receive_message_length", options.max_message_bytes),
        ("grpc.per_rpc_retry_buffer_size", _RETRY_BUFFER_BYTES),
        ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
        # Dead connections are found also while nothing is sent; the server allows pings twice as frequent.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # A server that comes back is found within seconds; gRPC's default grows to two minutes.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        # http_proxy in the environment is not meant for this host.
        ("grpc.enable_http_proxy", int(not options.is_local)),
        ("grpc.primary_user_agent", f"gradserve-python/{__version__}"),
    )
