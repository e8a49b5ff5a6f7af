"""What has happened, in the words of the part that did it: small facts, told once to whoever counts them.

The parts of the server know nothing of metrics; they hold an `Instruments` and tell it facts. All of its methods are
called on the event loop's thread, and none blocks, fails or takes more than about a microsecond.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol, TypeAlias

GrpcType: TypeAlias = Literal["unary", "client_stream", "server_stream", "bidi_stream"]

Outcome: TypeAlias = Literal["ok", "invalid", "rejected", "deadline", "cancelled", "error"]
"""How a call ended: answered; refused for what it asks; refused for a limit or for the state of the server; too late;
given up by its caller; failed through a fault of the server."""

ReleaseReason: TypeAlias = Literal["full", "window", "idle", "drain", "single"]
"""Why a batch was computed when it was: it was full; its oldest request had waited for as long as it may; the device
was idle; the server was stopping; or it is one request that is computed alone."""

_OUTCOMES: Mapping[str, Outcome] = {
    "OK": "ok",
    "INVALID_ARGUMENT": "invalid",
    "NOT_FOUND": "invalid",
    "ALREADY_EXISTS": "invalid",
    "FAILED_PRECONDITION": "invalid",
    "ABORTED": "invalid",
    "OUT_OF_RANGE": "invalid",
    "UNIMPLEMENTED": "invalid",
    "UNAUTHENTICATED": "invalid",
    "PERMISSION_DENIED": "invalid",
    "RESOURCE_EXHAUSTED": "rejected",
    "UNAVAILABLE": "rejected",
    "DEADLINE_EXCEEDED": "deadline",
    "CANCELLED": "cancelled",
    "DATA_LOSS": "error",
    "INTERNAL": "error",
    "UNKNOWN": "error",
}


def outcome_of(code: str) -> Outcome:
    """The outcome that the name of a `grpc.StatusCode` stands for."""
    return _OUTCOMES[code]


class RpcMethod(NamedTuple):
    """A method that is served.

    Attributes:
        grpc_type: Which sides of it are streams.
        service: The full name of its service, such as "gradserve.v1.InferenceService".
        method: Its name, such as "Forward".
    """

    grpc_type: GrpcType
    service: str
    method: str

    @property
    def operation(self) -> str:
        """What logs and metrics call it: its name in snake case."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", self.method).lower()


class RpcFact(NamedTuple):
    """One call has ended.

    Attributes:
        method: What was called.
        code: The name of its `grpc.StatusCode`, such as "INVALID_ARGUMENT".
        seconds: From the call's arrival at its handler to the reply, or to its last.
        reason: Why it was refused: the reason that its caller was told, such as "QUEUE_FULL"; empty if it was not.
        message: The words that he was told; empty if there were none.
    """

    method: RpcMethod
    code: str
    seconds: float
    reason: str = ""
    message: str = ""


class BatchFact(NamedTuple):
    """Requests to one model have been computed together, or one alone.

    Attributes:
        model: The model's name in the registry.
        operation: What was asked, such as "forward".
        reason: Why it was released then.
        rows: Of all its requests.
        seconds: How long it was computed.
        version: Of the weights that computed it.
    """

    model: str
    operation: str
    reason: ReleaseReason
    rows: int
    seconds: float
    version: int


class RequestFact(NamedTuple):
    """One request to compute has ended, whichever way.

    Attributes:
        model: The model's name in the registry, never a name that only a request has.
        operation: What was asked, such as "forward".
        outcome: How it ended.
        seconds: From its arrival to its reply or refusal.
        rows: The product of its input's leading dimensions; 0 if it was not computed.
        queue_seconds: How long it waited to be computed; None if it was not.
        finite: Whether every number of its reply is finite; True if it was not computed.
        reason: Why it was refused: the reason that its caller was told, such as "QUEUE_FULL"; empty if it was not.
        batch: The batch that it was computed in; None if it was not.
        ended: When, by `time.perf_counter`.
    """

    model: str
    operation: str
    outcome: Outcome
    seconds: float
    rows: int = 0
    queue_seconds: float | None = None
    finite: bool = True
    reason: str = ""
    batch: BatchFact | None = None
    ended: float = 0.0


class ChangeFact(NamedTuple):
    """A model, its weights, or its checkpoints have changed, and what is kept of them too.

    Attributes:
        model: The model's name.
        operation: What was done, as `RpcMethod.operation`.
        version_before: Of its weights; 0 if there was no such model, or nobody knows.
        version: Of its weights now; 0 if there is no such model any more.
        checkpoint: The checkpoint that was made, deleted, or loaded; empty if none was.
    """

    model: str
    operation: str
    version_before: int
    version: int
    checkpoint: str = ""


class QueueState(NamedTuple):
    """What waits to be computed for one model.

    Attributes:
        requests: How many requests.
        rows: Their rows together.
        capacity_rows: The most rows that may wait.
    """

    requests: int
    rows: int
    capacity_rows: int


class Instruments(Protocol):
    """Takes facts as they happen."""

    def rpc_served(self, method: RpcMethod) -> None:
        """A method will be served: said of each, before any call."""

    def rpc_started(self, method: RpcMethod) -> None:
        """A call has reached its handler."""

    def rpc_received(self, method: RpcMethod) -> None:
        """One more message of a stream of requests has been read; a single request came with its call."""

    def rpc_sent(self, method: RpcMethod) -> None:
        """One more message of a stream of replies was sent; a single reply goes with the end of its call."""

    def rpc_handled(self, fact: RpcFact) -> None:
        """A call has ended: once for each that has started."""

    def model_created(self, name: str) -> None:
        """A model is in the registry: it was created, or kept from before."""

    def model_deleted(self, name: str) -> None:
        """A model is in the registry no more."""

    def model_changed(self, fact: ChangeFact) -> None:
        """A model, its weights or its checkpoints have changed."""

    def request_started(self, operation: str) -> None:
        """A request to a model of the registry has arrived."""

    def request_finished(self, fact: RequestFact) -> None:
        """A request has ended: once for each that has started."""

    def batch_computed(self, fact: BatchFact) -> None:
        """A batch has been computed, whether or not that succeeded."""
