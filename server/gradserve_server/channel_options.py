"""gRPC's own options for a server: sizes, and how much of it a peer can hold."""

from __future__ import annotations

from gradserve_server.config import Config


def channel_options(config: Config) -> list[tuple[str, int]]:
    """The options that a configuration means, by gRPC's names."""
    connections = config.connections
    return [
        ("grpc.max_receive_message_length", config.limits.max_message_bytes),
        ("grpc.max_send_message_length", config.limits.max_message_bytes),
        # Otherwise a second server on the same port is not refused, and the two share its calls.
        ("grpc.so_reuseport", 0),
        ("grpc.max_allowed_incoming_connections", connections.max_connections),
        ("grpc.max_concurrent_streams", connections.max_concurrent_streams),
        # Between the two gRPC would refuse at random.
        ("grpc.max_metadata_size", connections.max_metadata_bytes),
        ("grpc.absolute_max_metadata_size", connections.max_metadata_bytes),
        ("grpc.server_handshake_timeout_ms", _milliseconds(connections.handshake_timeout)),
        ("grpc.max_connection_idle_ms", _milliseconds(connections.max_idle)),
        ("grpc.max_connection_age_ms", _milliseconds(connections.max_age)),
        ("grpc.max_connection_age_grace_ms", _milliseconds(connections.max_age_grace)),
        ("grpc.keepalive_time_ms", _milliseconds(connections.keepalive_time)),
        ("grpc.keepalive_timeout_ms", _milliseconds(connections.keepalive_timeout)),
        # The option above is the kernel's, for what it has sent; without this one a ping has a minute.
        ("grpc.http2.ping_timeout_ms", _milliseconds(connections.keepalive_timeout)),
        ("grpc.keepalive_permit_without_calls", 1),
        # A client may ping each minute, also without calls; twice as often is not yet abuse.
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 30_000),
    ]


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
