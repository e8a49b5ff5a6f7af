"""The log: lines of what happens, for a person or for a program, on standard error."""

from gradserve_server.logs.access import AccessLog
from gradserve_server.logs.audit import Audit
from gradserve_server.logs.setup import start_logging

__all__ = ["AccessLog", "Audit", "start_logging"]
