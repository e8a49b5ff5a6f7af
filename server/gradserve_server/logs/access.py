"""What was called, by whom, how it ended and how long it took: a line for each call, where that is wanted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from gradserve_server.calls import CALL
from gradserve_server.facts import RequestFact, RpcFact
from gradserve_server.listeners import NullInstruments
from gradserve_server.logs.formats import Value, with_fields

_log = logging.getLogger("gradserve_server.access")


class AccessLog(NullInstruments):
    """Writes of each call when it has ended, and of each request of a stream."""

    def __init__(self, level: int, identity: Callable[[Any], str]) -> None:
        """Write from now on.

        Args:
            level: Of the lines, as `logging` numbers it.
            identity: Tells who makes a call, by gRPC's context of it.
        """
        self._level = level
        self._identity = identity

    def request_finished(self, fact: RequestFact) -> None:
        """As Instruments."""
        if (call := CALL.get()) is None:
            return
        if call.method.grpc_type == "unary":
            # The line of its call tells of it.
            call.request = fact
            return
        fields = {
            "caller": self._identity(call.context),
            "rpc": f"{call.method.service}/{call.method.method}",
            **_of_request(fact),
            "outcome": fact.outcome,
            "reason": fact.reason,
            "seconds": _rounded(fact.seconds),
        }
        _log.log(self._level, "%s %s", fact.operation, fact.outcome, extra=with_fields(fields))

    def rpc_handled(self, fact: RpcFact) -> None:
        """As Instruments."""
        if (call := CALL.get()) is None:
            return
        fields = {
            "caller": self._identity(call.context),
            "rpc": f"{fact.method.service}/{fact.method.method}",
            "operation": fact.method.operation,
            "model": call.model,
            "checkpoint": call.checkpoint,
            **(_of_request(call.request) if call.request else {}),
            "status": fact.code,
            "reason": fact.reason,
            "error": fact.message,
            "seconds": _rounded(fact.seconds),
        }
        _log.log(self._level, "%s %s", fact.method.method, fact.code, extra=with_fields(fields))


def _of_request(fact: RequestFact) -> dict[str, Value]:
    fields: dict[str, Value] = {"operation": fact.operation, "model": fact.model}
    if fact.queue_seconds is not None:
        fields |= {"rows": fact.rows, "queue_seconds": _rounded(fact.queue_seconds)}
    if fact.batch is not None:
        compute_seconds = _rounded(fact.batch.seconds)
        fields |= {"version": fact.batch.version, "compute_seconds": compute_seconds, "batch_rows": fact.batch.rows}
    return fields


def _rounded(seconds: float) -> float:
    return round(seconds, 6)
