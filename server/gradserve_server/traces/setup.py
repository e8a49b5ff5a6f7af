"""Whether traces are made, and by what: decided by the environment alone, as OpenTelemetry specifies it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol

from gradserve_server.facts import Instruments

_SWITCHES = ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

_log = logging.getLogger(__name__)


class Traces(Protocol):
    """Traces that are made and sent."""

    @property
    def spans(self) -> Instruments:
        """What is told of calls, and makes spans of them."""

    def close(self) -> None:
        """Send what waits, as far as it is taken within a few seconds. Blocks."""


def start_traces(environ: Mapping[str, str]) -> Traces | None:
    """Make traces from now on, if the environment says where to send them.

    OpenTelemetry's own default is an exporter that connects to this machine. Here none is made unless a variable asks
    for it: nothing goes out by default.
    """
    if not _is_wanted(environ):
        return None
    try:
        from gradserve_server.traces.provider import ExportedTraces  # noqa: PLC0415 - needs the extra

        return ExportedTraces(environ)
    except ModuleNotFoundError as error:
        # The variables are set for many programs at once, so they do not keep one from its work.
        _log.warning("no traces are sent: %s is not installed: pip install 'gradserve[otel]'", error.name)
    except LookupError as error:
        _log.warning("no traces are sent: %s", error.args[0])
    return None


def _is_wanted(environ: Mapping[str, str]) -> bool:
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none":
        return False
    return any(environ.get(switch) for switch in _SWITCHES)
