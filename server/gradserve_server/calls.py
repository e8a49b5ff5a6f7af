"""The call that is being answered, for whoever writes of it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from contextvars import ContextVar
from functools import cached_property
from typing import Any, Final, Protocol

from gradserve_server.facts import RequestFact, RpcMethod

REQUEST_ID_KEY: Final = "x-request-id"
"""The metadata key of a call's id, in calls and in the trailers of those that fail."""

# Without spaces and control characters, so that an id can be neither two words of a line nor two lines.
_REQUEST_ID = re.compile(r"[!-~]{1,128}")

# W3C Trace Context, section 3.2: version, trace id, parent id, flags; a higher version may have more behind them.
_TRACE_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


class Context(Protocol):
    """What gRPC knows of a call. Making its metadata takes several microseconds, so nobody asks without need."""

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """What the caller sent along."""

    def peer(self) -> str:
        """The caller's address."""


class Call:
    """A call under way. What it says of itself is found out when somebody writes of it, and not before.

    Attributes:
        method: What was called.
        context: gRPC's side of it.
        model: The name of the model in its request, if somebody has taken note of it; there may be no such model.
        checkpoint: The name of the checkpoint in its request, likewise.
        request: What became of its request to compute, if somebody has taken note of it.
        span: What stands for it in a trace, if somebody makes one.
    """

    model: str = ""
    checkpoint: str = ""
    request: RequestFact | None = None
    span: object = None

    def __init__(self, method: RpcMethod, context: Any) -> None:  # noqa: ANN401 - its types are gRPC's
        self.method = method
        self.context: Context = context

    @cached_property
    def metadata(self) -> dict[str, str]:
        """What the caller sent along as text, by key."""
        sent = self.context.invocation_metadata() or ()
        return {key: value for key, value in sent if isinstance(value, str)}

    @cached_property
    def request_id(self) -> str:
        """The id that the caller has sent, or where that is no such thing, one that is drawn."""
        sent = self.metadata.get(REQUEST_ID_KEY, "")
        return sent if _REQUEST_ID.fullmatch(sent) else secrets.token_hex(8)

    @cached_property
    def trace_id(self) -> str:
        """The id of the trace that it belongs to, 32 hexadecimal digits; empty if it belongs to none."""
        sent = _TRACE_PARENT.fullmatch(self.metadata.get("traceparent", ""))
        return sent[1] if sent else ""


CALL: Final[ContextVar[Call | None]] = ContextVar("call", default=None)
"""The call that this task, or the one that started it, is answering."""
