"""What the server refuses to do, and why.

    ServiceError
    ├── InvalidArgument      the request itself is wrong; names the field
    ├── NotFound             no such model
    ├── AlreadyExists        the name is taken
    ├── FailedPrecondition   the request is right, but not for what the server has
    ├── Aborted              a write met another version than it expected
    ├── Unimplemented        torch has no kernel for it, or the model does not support it
    ├── ResourceExhausted    too large, too many, too busy, or out of memory
    ├── DeadlineExceeded     a request was not computed, or the next part of a stream did not come, in time
    ├── DataLoss             bytes are not what they were when their checksum was made
    ├── Unauthenticated      no token, or one that is not known
    ├── PermissionDenied     a token without the right, or for other models
    └── Unavailable          starting or draining

Every class stands for the gRPC status of the same name. Anything else that is raised is a bug, and reaches the
caller as INTERNAL with an error id and nothing else. DeviceFailed stands apart: it ends the server.
"""

from __future__ import annotations


class ServiceError(Exception):
    """A refusal that its caller is told.

    Attributes:
        message: What is wrong, for a person; the field goes before it.
        reason: UPPER_SNAKE, for a program: `google.rpc.ErrorInfo.reason`.
        field: The path of the request's field at fault, such as `input.shape`; empty if it is none.
    """

    default_reason = "UNKNOWN"

    def __init__(self, message: str, *, field: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.reason = reason or self.default_reason

    @property
    def text(self) -> str:
        """The message, behind the name of the field where there is one."""
        return f"{self.field}: {self.message}" if self.field else self.message


class InvalidArgument(ServiceError):
    """The request is wrong whatever the server holds."""

    default_reason = "INVALID_ARGUMENT"


class NotFound(ServiceError):
    """Nothing has that name."""

    default_reason = "NOT_FOUND"


class AlreadyExists(ServiceError):
    """The name is taken."""

    default_reason = "ALREADY_EXISTS"


class FailedPrecondition(ServiceError):
    """The request does not fit what the server holds now."""

    default_reason = "FAILED_PRECONDITION"


class Aborted(ServiceError):
    """A write expected another version."""

    default_reason = "VERSION_MISMATCH"


class Unimplemented(ServiceError):
    """There is no kernel for it, or the model does not support it."""

    default_reason = "NO_KERNEL"


class ResourceExhausted(ServiceError):
    """A limit is reached.

    Attributes:
        retry_after: The seconds after which asking again may help; None where it does not.
    """

    default_reason = "LIMIT_EXCEEDED"

    def __init__(self, message: str, *, field: str = "", reason: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, field=field, reason=reason)
        self.retry_after = retry_after


class Unavailable(ServiceError):
    """The server does not answer yet, or not any more, or its disk fails.

    Attributes:
        retry_after: The seconds after which asking again may help; None where it is left to the caller.
    """

    default_reason = "UNAVAILABLE"

    def __init__(self, message: str, *, field: str = "", reason: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, field=field, reason=reason)
        self.retry_after = retry_after


class DeadlineExceeded(ServiceError):
    """What was waited for did not come in time."""

    default_reason = "STREAM_IDLE"


class DataLoss(ServiceError):
    """Bytes do not have their checksum."""

    default_reason = "CHECKSUM_MISMATCH"


class Unauthenticated(ServiceError):
    """The call has no token, or one that is not known."""

    default_reason = "TOKEN_INVALID"


class PermissionDenied(ServiceError):
    """The caller is known, and may not do this."""

    default_reason = "RIGHT_MISSING"


class DeviceFailed(Exception):
    """A device computes nothing any more until the process is started again. No caller is told: the server ends."""
