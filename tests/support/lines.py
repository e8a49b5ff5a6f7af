"""The lines that a server with `log.format=json` has written."""

import json
from collections.abc import Callable
from typing import Any, TypeAlias

from tests.support.server import RunningServer
from tests.support.waiting import seconds_until

Line: TypeAlias = dict[str, Any]

JSON = ("--set", "log.format=json")
AUDIT, ACCESS = "gradserve_server.audit", "gradserve_server.access"

_SECONDS = 20


def lines(server: RunningServer, logger: str = "") -> list[Line]:
    """Those of one logger, or all. What is no JSON is of standard output, where the server says that it listens."""
    # Without the one that is just being written.
    whole = server.log().rpartition("\n")[0]
    found = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
    return [line for line in found if line["logger"].startswith(logger)]


def lines_until(server: RunningServer, logger: str, enough: Callable[[list[Line]], bool]) -> list[Line]:
    """Those of one logger, once there are enough: they are written a little after what they tell of."""
    seconds_until(lambda: enough(lines(server, logger)), _SECONDS)
    return lines(server, logger)


def line_of(server: RunningServer, logger: str, request_id: str) -> Line:
    """The one line that a logger writes of one request."""
    found = lines_until(server, logger, lambda all_: any(line.get("request_id") == request_id for line in all_))
    (line,) = (line for line in found if line.get("request_id") == request_id)
    return line
