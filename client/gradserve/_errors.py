"""What can go wrong in a call, as a tree of exceptions.

    gradserve.Error
    ├── AbortedError
    ├── AlreadyExistsError
    ├── CancelledError
    │   └── ClientClosedError
    ├── DataLossError
    ├── DeadlineExceededError      also a TimeoutError
    ├── FailedPreconditionError
    ├── InternalError
    ├── InvalidArgumentError       also a ValueError
    ├── NotFoundError              also a LookupError
    ├── OutOfRangeError            also a ValueError
    ├── PermissionDeniedError      also a PermissionError
    ├── ResourceExhaustedError
    ├── UnauthenticatedError       also a PermissionError
    ├── UnavailableError           also a ConnectionError
    ├── UnimplementedError         also a NotImplementedError
    └── UnknownError

There is one class per gRPC status; `_status.from_rpc_error` is the one place where gRPC's exceptions become these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Final

import grpc


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field of a request that the server refuses."""

    field: str
    """The path of the field, such as "input.shape" or "wrt[1]"."""
    description: str
    """What is wrong with it."""


class Error(Exception):
    """Any failure of a call.

    Attributes:
        code: The gRPC status.
        message: What happened, in words.
        reason: What happened, as a word for programs, such as "MODEL_NOT_FOUND"; empty where the failure did not
            come from Gradserve itself but, say, from the network.
        field_violations: The fields of the request that the server refuses; often empty.
        metadata: Facts about the failure that the server adds to the reason.
        call_id: The id that the call was sent with, as the metadata `x-request-id`; None where nothing was sent.
        retry_after: The seconds after which the server asks to try again; None where it does not.
    """

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.UNKNOWN

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        field_violations: Iterable[FieldViolation] = (),
        metadata: Mapping[str, str] = MappingProxyType({}),
        call_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        """Keep what is known about the failure."""
        super().__init__(message)
        self.message: Final = message
        self.reason: Final = reason
        self.field_violations: Final = tuple(field_violations)
        self.metadata: Final = dict(metadata)
        self.call_id: Final = call_id
        self.retry_after: Final = retry_after

    def __str__(self) -> str:
        """Return the message."""
        return self.message


class AbortedError(Error):
    """A write named a version (`if_version`) that the model is not at."""

    code = grpc.StatusCode.ABORTED


class AlreadyExistsError(Error):
    """The name of a model or a checkpoint is taken."""

    code = grpc.StatusCode.ALREADY_EXISTS


class CancelledError(Error):
    """The call was cancelled before it ended."""

    code = grpc.StatusCode.CANCELLED


class ClientClosedError(CancelledError):
    """The client was closed before or during the call."""


class DataLossError(Error):
    """Weights were damaged, on their way or where they are kept: a checksum is wrong."""

    code = grpc.StatusCode.DATA_LOSS


class DeadlineExceededError(Error, TimeoutError):
    """The call's timeout passed."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class FailedPreconditionError(Error):
    """The request is sound, but the model or the host is not in the state that it needs."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class InternalError(Error):
    """A bug in the server, or a reply that cannot be read."""

    code = grpc.StatusCode.INTERNAL


class InvalidArgumentError(Error, ValueError):
    """The request is wrong, whatever state the server is in; `field_violations` tells where."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class NotFoundError(Error, LookupError):
    """There is no model, or no checkpoint, of that name."""

    code = grpc.StatusCode.NOT_FOUND


class OutOfRangeError(Error, ValueError):
    """A position lies past the end."""

    code = grpc.StatusCode.OUT_OF_RANGE


class PermissionDeniedError(Error, PermissionError):
    """The caller is known, and may not do this."""

    code = grpc.StatusCode.PERMISSION_DENIED


class ResourceExhaustedError(Error):
    """Something is too large, or the server is full; `retry_after` tells whether trying again can help."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class UnauthenticatedError(Error, PermissionError):
    """The caller's token is missing or wrong."""

    code = grpc.StatusCode.UNAUTHENTICATED


class UnavailableError(Error, ConnectionError):
    """The server cannot be reached, or is starting or stopping."""

    code = grpc.StatusCode.UNAVAILABLE


class UnimplementedError(Error, NotImplementedError):
    """The server, the model or torch cannot do this."""

    code = grpc.StatusCode.UNIMPLEMENTED


class UnknownError(Error):
    """The server failed without a status of its own."""

    code = grpc.StatusCode.UNKNOWN


CLASSES: Final[Mapping[grpc.StatusCode, type[Error]]] = MappingProxyType(
    {
        cls.code: cls
        for cls in (
            AbortedError,
            AlreadyExistsError,
            CancelledError,
            DataLossError,
            DeadlineExceededError,
            FailedPreconditionError,
            InternalError,
            InvalidArgumentError,
            NotFoundError,
            OutOfRangeError,
            PermissionDeniedError,
            ResourceExhaustedError,
            UnauthenticatedError,
            UnavailableError,
            UnimplementedError,
            UnknownError,
        )
    }
)
"""The class of each status."""

for _class in (Error, ClientClosedError, *CLASSES.values()):
    _class.__module__ = "gradserve"  # where users import them from, and what tracebacks should say
