"""From gRPC's exceptions to Gradserve's: the one boundary."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from gradserve._errors import CLASSES, Error, FieldViolation
from gradserve.v1 import inference_pb2

CALL_ID_KEY: Final = "x-request-id"
"""The metadata key of a call's id, in requests and in trailers."""

_PUSHBACK_KEY: Final = "grpc-retry-pushback-ms"
_CODES: Final = {code.value[0]: code for code in CLASSES}


class _Details(NamedTuple):
    """The standard details of a google.rpc.Status, each empty where the server sent none."""

    info: error_details_pb2.ErrorInfo
    request: error_details_pb2.BadRequest
    retry: error_details_pb2.RetryInfo


def from_rpc_error(error: grpc.RpcError, call_id: str | None = None) -> Error:
    """Return the Error for what gRPC raised.

    The details come from google.rpc.Status in the trailers; a failure inside gRPC has none, and is an Error of the
    right class all the same.
    """
    call = cast("grpc.Call", error)  # gRPC raises objects that are both
    trailers = dict(call.trailing_metadata() or ())
    details = _details(lambda: rpc_status.from_call(call))
    served_id = trailers.get(CALL_ID_KEY)
    return _error(
        call.code(),
        call.details() or call.code().name,
        details,
        served_id if isinstance(served_id, str) else call_id,
        _retry_after(_pushback(trailers), details.retry),
    )


def from_call_error(error: inference_pb2.CallError, call_id: str) -> Error:
    """Return the Error for what one request of a stream was told, as a call of its own would have raised it."""
    details = _details(lambda: status_pb2.Status.FromString(error.details))
    return _error(
        _CODES.get(error.code, grpc.StatusCode.UNKNOWN),
        error.message,
        details,
        call_id,
        _retry_after(error.retry_pushback_ms if error.HasField("retry_pushback_ms") else None, details.retry),
    )


def _error(
    code: grpc.StatusCode, message: str, details: _Details, call_id: str | None, retry_after: float | None
) -> Error:
    return CLASSES[code](
        message,
        reason=details.info.reason,
        field_violations=[FieldViolation(item.field, item.description) for item in details.request.field_violations],
        metadata=details.info.metadata,
        call_id=call_id,
        retry_after=retry_after,
    )


def _details(read: Callable[[], status_pb2.Status | None]) -> _Details:
    details = _Details(error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo())
    try:
        status = read() or status_pb2.Status()
        for packed in status.details:
            for detail in details:
                packed.Unpack(detail)
    except (ValueError, DecodeError):
        # A proxy may have rewritten the status, or cut it short: what gRPC itself says still holds.
        pass
    return details


def _pushback(trailers: Mapping[str, str | bytes]) -> int | None:
    try:
        return int(trailers.get(_PUSHBACK_KEY, ""))
    except ValueError:
        return None


def _retry_after(pushback: int | None, retry: error_details_pb2.RetryInfo) -> float | None:
    """Return the server's wish in seconds: gRPC's pushback in milliseconds, negative for never, or RetryInfo."""
    if pushback is not None:
        return pushback / 1000 if pushback >= 0 else None
    return retry.retry_delay.ToTimedelta().total_seconds() if retry.HasField("retry_delay") else None
