"""What is counted of the calls of each method: the metrics that every gRPC server has.

Names, labels and the spelling of their values are those of go-grpc-middleware, so that its dashboards and alerts fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from gradserve_server.facts import RpcMethod
from gradserve_server.metrics.histogram import RPC_SECONDS, Histogram

GO_CODES: Mapping[str, str] = {
    "OK": "OK",
    "CANCELLED": "Canceled",
    "UNKNOWN": "Unknown",
    "INVALID_ARGUMENT": "InvalidArgument",
    "DEADLINE_EXCEEDED": "DeadlineExceeded",
    "NOT_FOUND": "NotFound",
    "ALREADY_EXISTS": "AlreadyExists",
    "PERMISSION_DENIED": "PermissionDenied",
    "RESOURCE_EXHAUSTED": "ResourceExhausted",
    "FAILED_PRECONDITION": "FailedPrecondition",
    "ABORTED": "Aborted",
    "OUT_OF_RANGE": "OutOfRange",
    "UNIMPLEMENTED": "Unimplemented",
    "INTERNAL": "Internal",
    "UNAVAILABLE": "Unavailable",
    "DATA_LOSS": "DataLoss",
    "UNAUTHENTICATED": "Unauthenticated",
}
"""How Go spells each `grpc.StatusCode`."""

_LABELS = ("grpc_type", "grpc_service", "grpc_method")


@dataclass(slots=True)
class RpcSeries:
    """The numbers of one method.

    Attributes:
        started: Calls.
        received: Messages of streams of requests.
        sent: Messages of streams of replies.
        handled: Calls that have ended, by the name of their status; each is there from the start.
        seconds: How long they took.
    """

    started: int = 0
    received: int = 0
    sent: int = 0
    handled: dict[str, int] = field(default_factory=lambda: dict.fromkeys(GO_CODES, 0))
    seconds: Histogram = field(default_factory=lambda: Histogram(RPC_SECONDS))

    def copy(self) -> RpcSeries:
        """The numbers as they are now."""
        return RpcSeries(self.started, self.received, self.sent, self.handled.copy(), self.seconds.copy())


def rpc_families(rpcs: Mapping[RpcMethod, RpcSeries]) -> Iterator[Metric]:
    """The families of all methods."""
    started = CounterMetricFamily("grpc_server_started", "Calls that have reached the server.", labels=_LABELS)
    handled = CounterMetricFamily(
        "grpc_server_handled", "Calls that have ended, by status.", labels=(*_LABELS, "grpc_code")
    )
    received = CounterMetricFamily("grpc_server_msg_received", "Messages read from callers.", labels=_LABELS)
    sent = CounterMetricFamily("grpc_server_msg_sent", "Messages sent to callers.", labels=_LABELS)
    seconds = HistogramMetricFamily("grpc_server_handling_seconds", "How long calls took.", labels=_LABELS)
    for method, series in rpcs.items():
        started.add_metric(method, series.started)
        # Of what is no stream there is one: the request of each call, and the reply of each that succeeds.
        requests_stream = method.grpc_type in {"client_stream", "bidi_stream"}
        replies_stream = method.grpc_type in {"server_stream", "bidi_stream"}
        received.add_metric(method, series.received if requests_stream else series.started)
        sent.add_metric(method, series.sent if replies_stream else series.handled["OK"])
        for code, count in series.handled.items():
            handled.add_metric((*method, GO_CODES[code]), count)
        seconds.add_metric(method, series.seconds.buckets(), series.seconds.sum)
    yield from (started, handled, received, sent, seconds)
