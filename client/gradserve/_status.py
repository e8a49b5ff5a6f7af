"""From gRPC's exceptions to Gradserve's: the one boundary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from gradserve._errors import CLASSES, Error, FieldViolation

CALL_ID_KEY: Final = "x-request-id"
"""The metadata key of a call's id, in requests and in trailers."""

_PUSHBACK_KEY: Final = "grpc-retry-pushback-ms"


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
    details = _details(call)
    served_id = trailers.get(CALL_ID_KEY)
    return CLASSES[call.code()](
        call.details() or call.code().name,
        reason=details.info.reason,
        field_violations=[FieldViolation(item.field, item.description) for item in details.request.field_violations],
        metadata=details.info.metadata,
        call_id=served_id if isinstance(served_id, str) else call_id,
        retry_after=_retry_after(trailers, details.retry),
    )


def _details(call: grpc.Call) -> _Details:
    details = _Details(error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo())
    try:
        status = rpc_status.from_call(call) or status_pb2.Status()
        for packed in status.details:
            for detail in details:
                packed.Unpack(detail)
    except (ValueError, DecodeError):
        # A proxy may have rewritten the status, or cut it short: what gRPC itself says still holds.
        pass
    return details


def _retry_after(trailers: Mapping[str, str | bytes], retry: error_details_pb2.RetryInfo) -> float | None:
    """Return the server's wish in seconds: gRPC's pushback trailer, where negative means never, or RetryInfo."""
    try:
        pushback = int(trailers.get(_PUSHBACK_KEY, ""))
    except ValueError:
        return retry.retry_delay.ToTimedelta().total_seconds() if retry.HasField("retry_delay") else None
    return pushback / 1000 if pushback >= 0 else None
