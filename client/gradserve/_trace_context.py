"""The trace that a call belongs to, told to the server where this process makes traces."""

from __future__ import annotations

import sys
from typing import TypeAlias

Metadata: TypeAlias = tuple[tuple[str, str], ...]


def trace_context() -> Metadata:
    """Return the metadata that say which span the caller is in: W3C's `traceparent`, or what else is configured.

    Empty outside of spans, and where nobody has imported OpenTelemetry: then there is no span, and importing it here
    would cost every program what only some use.
    """
    if "opentelemetry.trace" not in sys.modules:
        return ()
    from opentelemetry.propagate import inject  # noqa: PLC0415 - may not be installed

    carrier: dict[str, str] = {}
    inject(carrier)
    return tuple((key.lower(), value) for key, value in carrier.items())
