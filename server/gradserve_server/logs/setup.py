"""Logging as it is configured, for the whole process."""

from __future__ import annotations

import logging
import sys

from gradserve_server.config import LogConfig
from gradserve_server.logs.audit import AUDIT
from gradserve_server.logs.formats import ConsoleFormat, JsonFormat
from gradserve_server.logs.output import BackgroundHandler


def start_logging(config: LogConfig) -> None:
    """Write to standard error from now on. Of other packages no more than warnings, whatever the level is."""
    level = logging.getLevelNamesMapping()[config.level.upper()]
    handler: logging.Handler = logging.NullHandler() if sys.stderr is None else BackgroundHandler(sys.stderr)
    handler.setFormatter(JsonFormat() if config.format == "json" else ConsoleFormat())
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)
    logging.captureWarnings(capture=True)
    logging.getLogger("gradserve_server").setLevel(level)
    AUDIT.setLevel(logging.INFO)
