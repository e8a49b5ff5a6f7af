"""The page that Prometheus scrapes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from prometheus_client import make_wsgi_app

from gradserve_server.http_endpoint import Reply
from gradserve_server.metrics.metrics import Metrics
from gradserve_server.metrics.readings import Readings
from gradserve_server.metrics.snapshot import Snapshot

# After each page nothing is written for so many times as long as that took.
_REST = 1


class MetricsPage:
    """Writes the numbers out, one page at a time, for at most half of the time, however many ask for it.

    Those who ask while another page is being written share the next one, if they ask for it in the same way.
    """

    def __init__(self, metrics: Metrics, readings: Readings) -> None:
        self._metrics = metrics
        self._readings = readings
        self._turn = asyncio.Lock()
        self._coming: dict[tuple[str, str], asyncio.Task[Reply]] = {}

    async def get(self, headers: Mapping[str, str]) -> Reply:
        """The page as it is now, or a moment later.

        Args:
            headers: Those of the request, by their names in lower case. `accept` decides between the text format and
                OpenMetrics, `accept-encoding` on compression.
        """
        wanted = headers.get("accept", ""), headers.get("accept-encoding", "")
        if wanted not in self._coming:
            self._coming[wanted] = asyncio.create_task(self._page(*wanted))
        # Who goes away does not take the page from the others.
        return await asyncio.shield(self._coming[wanted])

    async def _page(self, accept: str, accept_encoding: str) -> Reply:
        await self._turn.acquire()
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            # Who asks from now on wants newer numbers than these.
            del self._coming[accept, accept_encoding]
            snapshot = self._metrics.snapshot(self._readings.now())
            return await asyncio.to_thread(_write, snapshot, accept, accept_encoding)
        finally:
            loop.call_later(_REST * (loop.time() - begun), self._turn.release)


def _write(snapshot: Snapshot, accept: str, accept_encoding: str) -> Reply:
    told: list[tuple[str, str]] = []
    request = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/metrics",
        "HTTP_ACCEPT": accept,
        "HTTP_ACCEPT_ENCODING": accept_encoding,
    }
    # The library's own application chooses the format and the compression.
    page = make_wsgi_app(snapshot)(request, lambda _status, chosen: told.extend(chosen))
    return Reply(200, b"".join(page), dict(told))
