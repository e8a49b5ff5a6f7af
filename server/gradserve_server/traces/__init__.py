"""Traces: a span for each call, sent where OpenTelemetry's environment variables say, or nowhere."""

from gradserve_server.traces.setup import Traces, start_traces

__all__ = ["Traces", "start_traces"]
