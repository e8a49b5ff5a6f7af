"""A collector of traces: takes what OpenTelemetry's exporter sends over gRPC."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

_SECONDS = 20


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps what it is sent.

    Attributes:
        target: Where it listens.
        spans: The spans that have come.
        resource: The attributes of the program that sent the last ones.
    """

    def __init__(self) -> None:
        self.target = ""
        self.spans: list[Span] = []
        self.resource: dict[str, Any] = {}
        self._come = threading.Condition()

    def Export(  # noqa: N802 - the RPC's name
        self, request: trace_service_pb2.ExportTraceServiceRequest, _context: grpc.ServicerContext
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        """Keep some spans."""
        with self._come:
            for resource in request.resource_spans:
                self.resource = values(resource.resource.attributes)
                self.spans += [span for scope in resource.scope_spans for span in scope.spans]
            self._come.notify_all()
        return trace_service_pb2.ExportTraceServiceResponse()

    def span(self, request_id: str) -> Span:
        """The span of a request, once it has come."""
        with self._come:
            assert self._come.wait_for(lambda: any(map(of(request_id), self.spans)), _SECONDS)
            (span,) = filter(of(request_id), self.spans)
        return span


def values(attributes: Any) -> dict[str, Any]:
    """Attributes as Python has them."""

    def value(attribute: KeyValue) -> object:
        return getattr(attribute.value, str(attribute.value.WhichOneof("value")))

    return {attribute.key: value(attribute) for attribute in attributes}


def of(request_id: str) -> Any:
    """Says of a span whether it is that of a request."""
    return lambda span: values(span.attributes).get("gradserve.request_id") == request_id


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that listens until the block ends."""
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    collector.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield collector
    finally:
        server.stop(None).wait()
