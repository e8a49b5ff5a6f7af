"""Who changed which model, or tried to: a line for each, whatever the level of the log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from gradserve_server.calls import CALL
from gradserve_server.facts import ChangeFact, RpcFact, outcome_of
from gradserve_server.listeners import NullInstruments
from gradserve_server.logs.formats import with_fields

AUDIT: Final = logging.getLogger("gradserve_server.audit")

CHANGES: Final = frozenset(
    (
        "CreateModel",
        "UpdateModel",
        "DeleteModel",
        "LoadStateDict",
        "SaveCheckpoint",
        "LoadCheckpoint",
        "DeleteCheckpoint",
        "RepositoryModelLoad",
        "RepositoryModelUnload",
    )
)
"""The methods that change a model."""


class Audit(NullInstruments):
    """Writes of each change of a model when it has been made, and of each call that was to make one and failed.

    A change that has begun is made though its caller goes away. So a line may tell that a call was cancelled, and a
    later one of the same request that its change was made.
    """

    def __init__(self, identity: Callable[[Any], str]) -> None:
        """Write from now on.

        Args:
            identity: Tells who makes a call, by gRPC's context of it.
        """
        self._identity = identity

    def model_changed(self, fact: ChangeFact) -> None:
        """As Instruments. What the server does at its start, nobody has called for."""
        if (call := CALL.get()) is None:
            return
        fields = {
            "caller": self._identity(call.context),
            "operation": fact.operation,
            "outcome": "ok",
            "model": fact.model,
            "version_before": fact.version_before or None,
            "version": fact.version or None,
            "checkpoint": fact.checkpoint,
        }
        AUDIT.info("%s ok", fact.operation, extra=with_fields(fields))

    def rpc_handled(self, fact: RpcFact) -> None:
        """As Instruments."""
        call = CALL.get()
        if fact.code == "OK" or fact.method.method not in CHANGES or call is None:
            return
        fields = {
            "caller": self._identity(call.context),
            "operation": fact.method.operation,
            "outcome": outcome_of(fact.code),
            "model": call.model,
            "checkpoint": call.checkpoint,
            "status": fact.code,
            "reason": fact.reason,
            "error": fact.message,
        }
        AUDIT.info("%s %s", fact.method.operation, outcome_of(fact.code), extra=with_fields(fields))
