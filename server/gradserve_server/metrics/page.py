"""The page that Prometheus scrapes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from prometheus_client import make_wsgi_app

from gradserve_server.http_endpoint import Reply
from gradserve_server.metrics.metrics import Metrics
from gradserve_server.metrics.readings import Readings
from gradserve_server.metrics.snapshot import Snapshot

# Writing takes the interpreter's lock from those who compute: after each page it pauses for so many times as long.
_REST = 3


class MetricsPage:
    """Writes the numbers out, one page at a time, for at most a quarter of the time, however many ask for it."""

    def __init__(self, metrics: Metrics, readings: Readings) -> None:
        self._metrics = metrics
        self._readings = readings
        self._turn = asyncio.Lock()

    async def get(self, headers: Mapping[str, str]) -> Reply:
        """The page as it is now, as the text format or OpenMetrics, compressed or not.

        Args:
            headers: Those of the request, by their names in lower case: `accept` and `accept-encoding` decide.
        """
        await self._turn.acquire()
        loop = asyncio.get_running_loop()
        begun = loop.time()
        writing = asyncio.create_task(self._page(headers))
        # The turn ends when the page is written, and not when whoever asked for it goes away.
        writing.add_done_callback(lambda _: loop.call_later(_REST * (loop.time() - begun), self._turn.release))
        return await asyncio.shield(writing)

    async def _page(self, headers: Mapping[str, str]) -> Reply:
        return await asyncio.to_thread(_write, self._metrics.snapshot(self._readings.now()), headers)


def _write(snapshot: Snapshot, headers: Mapping[str, str]) -> Reply:
    told: list[tuple[str, str]] = []
    request = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/metrics",
        "HTTP_ACCEPT": headers.get("accept", ""),
        "HTTP_ACCEPT_ENCODING": headers.get("accept-encoding", ""),
    }
    # The library's own application chooses the format and the compression.
    page = make_wsgi_app(snapshot)(request, lambda _status, chosen: told.extend(chosen))
    return Reply(200, b"".join(page), dict(told))
