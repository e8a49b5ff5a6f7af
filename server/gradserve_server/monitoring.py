"""What is told over HTTP: metrics, and whether the server lives and is ready."""

from __future__ import annotations

from collections.abc import Mapping

from gradserve_server.http_endpoint import Reply, Route
from gradserve_server.lifecycle import Lifecycle, Phase
from gradserve_server.metrics import MetricsPage


def routes(page: MetricsPage, lifecycle: Lifecycle) -> Mapping[str, Route]:
    """What answers each path.

    `/healthz` answers 200 as long as the event loop turns, `/readyz` 200 while the server serves and 503 before and
    after, with the phase in either body.
    """

    async def healthz(_headers: Mapping[str, str]) -> Reply:
        return Reply(200, f"{lifecycle.phase.name}\n".encode())

    async def readyz(_headers: Mapping[str, str]) -> Reply:
        ready = lifecycle.phase is Phase.SERVING
        return Reply(200 if ready else 503, f"{lifecycle.phase.name}\n".encode())

    return {"/metrics": page.get, "/healthz": healthz, "/readyz": readyz}
