"""The one boundary where a refusal becomes a gRPC status: code, message, and google.rpc details."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from gradserve_server import errors

_log = logging.getLogger(__name__)

DOMAIN = "gradserve"
"""google.rpc.ErrorInfo.domain of every refusal."""

CODES: Mapping[type[errors.ServiceError], grpc.StatusCode] = {
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Aborted: grpc.StatusCode.ABORTED,
    errors.Unimplemented: grpc.StatusCode.UNIMPLEMENTED,
    errors.ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.DataLoss: grpc.StatusCode.DATA_LOSS,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
}
"""The status of each refusal."""

# Details beyond about 8 KiB exceed what a client accepts as metadata; base64 and the message's second copy count too.
_LONGEST_MESSAGE = 1024

_REASONS = 256

_STATUS_DETAILS = "grpc-status-details-bin"
_PUSHBACK = "grpc-retry-pushback-ms"
_DO_NOT_RETRY = -1
_SHORTEST_PAUSE, _LONGEST_PAUSE = 10, 60_000


@dataclass(frozen=True)
class Failure:
    """How a call ends that failed, in gRPC's terms; it holds on to nothing of the call.

    Attributes:
        code: The status.
        reason: Why, for a program.
        details: What is wrong, for a person.
        status: The google.rpc.Status that tells all of it, serialised.
        pushback: The milliseconds to wait before a retry, negative for none; None where it is left to the caller.
    """

    code: grpc.StatusCode
    reason: str
    details: str
    status: bytes
    pushback: int | None

    @property
    def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """What of it goes into the trailers of the call."""
        trailers: tuple[tuple[str, str | bytes], ...] = ((_STATUS_DETAILS, self.status),)
        return trailers if self.pushback is None else (*trailers, (_PUSHBACK, str(self.pushback)))


def failure_of(error: Exception) -> Failure:
    """The failure that an error means; one that is no ServiceError is logged and reaches the caller as an id."""
    refusal = error if isinstance(error, errors.ServiceError) else _internal(error)
    code = CODES.get(type(refusal), grpc.StatusCode.INTERNAL)
    status = status_of(refusal, code).SerializeToString()
    return Failure(code, refusal.reason, _shortened(refusal.text), status, _pushback(refusal))


def status_of(refusal: errors.ServiceError, code: grpc.StatusCode) -> status_pb2.Status:
    """The google.rpc.Status of a refusal, with ErrorInfo and, where a field is at fault, BadRequest."""
    status = status_pb2.Status(code=code_pb2.Code.Value(code.name), message=_shortened(refusal.text))
    status.details.append(_error_info(refusal.reason))
    if refusal.field:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=_shortened(refusal.field), description=_shortened(refusal.message), reason=refusal.reason
        )
        status.details.append(_packed(error_details_pb2.BadRequest(field_violations=[violation])))
    return status


@lru_cache(_REASONS)
def _error_info(reason: str) -> any_pb2.Any:
    """Made once: a server that refuses much has no time to lose."""
    return _packed(error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN))


def _packed(detail: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed


def _pushback(refusal: errors.ServiceError) -> int | None:
    """The pause before a retry in milliseconds; negative for no retry (gRFC A6, "Pushback")."""
    if not isinstance(refusal, errors.ResourceExhausted | errors.Unavailable):
        return None
    if refusal.retry_after is None:
        return _DO_NOT_RETRY if isinstance(refusal, errors.ResourceExhausted) else None
    return min(max(round(refusal.retry_after * 1000), _SHORTEST_PAUSE), _LONGEST_PAUSE)


def _internal(error: Exception) -> errors.ServiceError:
    error_id = secrets.token_hex(8)
    _log.error("internal error %s", error_id, exc_info=error)
    return errors.ServiceError(f"internal error {error_id}", reason="INTERNAL")


def _shortened(text: str) -> str:
    # A gRPC message is ASCII on the wire, percent-encoded: three bytes for each byte that is not.
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= _LONGEST_MESSAGE:
        return text
    return encoded[: _LONGEST_MESSAGE - 3].decode("utf-8", "ignore") + "..."
