"""A span for each call, with the names and attributes of OpenTelemetry's conventions for gRPC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gradserve_server.calls import CALL
from gradserve_server.facts import RequestFact, RpcFact, RpcMethod
from gradserve_server.listeners import NullInstruments

NUMBERS: Final[Mapping[str, int]] = {
    name: number
    for number, name in enumerate(
        (
            "OK",
            "CANCELLED",
            "UNKNOWN",
            "INVALID_ARGUMENT",
            "DEADLINE_EXCEEDED",
            "NOT_FOUND",
            "ALREADY_EXISTS",
            "PERMISSION_DENIED",
            "RESOURCE_EXHAUSTED",
            "FAILED_PRECONDITION",
            "ABORTED",
            "OUT_OF_RANGE",
            "UNIMPLEMENTED",
            "INTERNAL",
            "UNAVAILABLE",
            "DATA_LOSS",
            "UNAUTHENTICATED",
        )
    )
}
"""The number of each status of gRPC."""

# Those that the conventions count as errors of a server; the others are its caller's.
_ERRORS = frozenset(("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"))

_PROPAGATOR = TraceContextTextMapPropagator()


class Spans(NullInstruments):
    """Makes a span of each call, as a part of its caller's trace if it has one.

    Of a unary call the request to compute is told in attributes; each one of a stream is an event.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def rpc_started(self, method: RpcMethod) -> None:
        """As Instruments."""
        if (call := CALL.get()) is None:
            return
        call.span = span = self._tracer.start_span(
            f"{method.service}/{method.method}",
            context=_PROPAGATOR.extract(call.metadata),
            kind=SpanKind.SERVER,
            attributes={"rpc.system": "grpc", "rpc.service": method.service, "rpc.method": method.method},
        )
        call.trace_id = format(span.get_span_context().trace_id, "032x")

    def request_finished(self, fact: RequestFact) -> None:
        """As Instruments."""
        if (call := CALL.get()) is None or not isinstance(call.span, Span):
            return
        if call.method.grpc_type == "unary":
            call.span.set_attributes(_attributes(fact))
        else:
            call.span.add_event("gradserve.request", _attributes(fact))

    def rpc_handled(self, fact: RpcFact) -> None:
        """As Instruments."""
        if (call := CALL.get()) is None or not isinstance(call.span, Span):
            return
        call.span.set_attribute("rpc.grpc.status_code", NUMBERS[fact.code])
        call.span.set_attribute("gradserve.request_id", call.request_id)
        if call.model:
            call.span.set_attribute("gradserve.model", call.model)
        if fact.reason:
            call.span.set_attribute("gradserve.reason", fact.reason)
        if fact.code in _ERRORS:
            call.span.set_status(StatusCode.ERROR, fact.message)
        call.span.end()


def _attributes(fact: RequestFact) -> dict[str, str | int | float]:
    attributes: dict[str, str | int | float] = {
        "gradserve.model": fact.model,
        "gradserve.operation": fact.operation,
        "gradserve.outcome": fact.outcome,
        "gradserve.rows": fact.rows,
    }
    if fact.queue_seconds is not None:
        attributes["gradserve.queue_seconds"] = fact.queue_seconds
    if fact.batch is not None:
        attributes |= {
            "gradserve.version": fact.batch.version,
            "gradserve.compute_seconds": fact.batch.seconds,
            "gradserve.batch_rows": fact.batch.rows,
        }
    return attributes
