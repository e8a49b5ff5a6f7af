"""Calls of a program that makes traces belong to them."""

import subprocess
import sys

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

import gradserve
from gradserve.v1 import model_pb2
from tests.client.scripted_server import scripted_server
from tests.support.either_client import either_client

pytestmark = either_client

TRACER = TracerProvider(shutdown_on_exit=False).get_tracer("test")


def sent_inside(span: trace.Span) -> str | bytes | None:
    """The trace context that a call sends from inside a span."""
    reply = model_pb2.DeleteModelResponse(version=1)
    with scripted_server(DeleteModel=[reply]) as (target, script), gradserve.Client(target) as client:
        with trace.use_span(span):
            client.delete_model("m")
        return script.calls[0].metadata.get("traceparent")


def test_a_call_inside_a_span_tells_the_server_its_trace():
    span = TRACER.start_span("mine")
    context = span.get_span_context()
    assert sent_inside(span) == f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def test_a_call_outside_of_any_span_tells_none():
    assert sent_inside(trace.INVALID_SPAN) is None


def test_who_does_not_use_opentelemetry_does_not_load_it():
    code = "import sys, gradserve; from gradserve._trace_context import trace_context; assert trace_context() == ()"
    code += "; assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
