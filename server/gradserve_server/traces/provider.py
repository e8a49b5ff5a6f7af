"""Spans on their way out: OpenTelemetry's SDK, set up by its own environment variables."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points

from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

from gradserve.__about__ import __version__
from gradserve_server.traces.spans import Spans

_EXPORTERS = "opentelemetry_traces_exporter"
_LAST_SECONDS = 3.0


class ExportedTraces:
    """Traces that exporters send.

    Attributes:
        spans: What makes them.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Set them up; the SDK reads its other variables itself.

        Args:
            environ: The environment.

        Raises:
            LookupError: If there is no such exporter; says what to install.
        """
        given = {} if environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: "gradserve"}
        # Not at the exit of the interpreter, which would wait for a collector that does not answer.
        self._provider = TracerProvider(resource=Resource.create(given), shutdown_on_exit=False)
        for exporter in list(_exporters(environ)):
            self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self.spans = Spans(self._provider.get_tracer("gradserve_server", __version__))

    def close(self) -> None:
        """Send what waits, as far as it is taken within a few seconds. Blocks."""
        closing = threading.Thread(target=self._provider.shutdown, name="gradserve-traces", daemon=True)
        closing.start()
        closing.join(_LAST_SECONDS)


def _exporters(environ: Mapping[str, str]) -> Iterator[SpanExporter]:
    protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "grpc"
    for wanted in (environ.get("OTEL_TRACES_EXPORTER") or "otlp").split(","):
        name = f"otlp_proto_{protocol.partition('/')[0]}" if wanted.strip() == "otlp" else wanted.strip()
        found = tuple(entry_points(group=_EXPORTERS, name=name))
        if not found:
            package = name.replace("_", "-")
            raise LookupError(f"there is no exporter {name}: pip install opentelemetry-exporter-{package}")
        exporter: SpanExporter = found[0].load()()
        yield exporter
