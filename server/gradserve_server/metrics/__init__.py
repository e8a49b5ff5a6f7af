"""Prometheus metrics: facts become plain numbers as they happen, and text when somebody asks.

Counting takes a fraction of a microsecond a number, on the event loop's thread, without locks. A scrape copies the
numbers there, which is quick, and writes them out on another thread, which is not.
"""

from gradserve_server.metrics.metrics import Metrics
from gradserve_server.metrics.page import MetricsPage
from gradserve_server.metrics.readings import Readings

__all__ = ["Metrics", "MetricsPage", "Readings"]
