"""What the SDK refuses by itself, in the form in which the server would."""

from __future__ import annotations

from typing import Final

from gradserve import codec
from gradserve._errors import FieldViolation, InvalidArgumentError

_INT32: Final = range(-(2**31), 2**31)
_INT64: Final = range(-(2**63), 2**63)


def invalid(field: str, message: str, reason: str = "INVALID_ARGUMENT") -> InvalidArgumentError:
    """Return the error for a wrong argument."""
    return InvalidArgumentError(f"{field}: {message}", reason=reason, field_violations=[FieldViolation(field, message)])


def invalid_tensor(field: str, error: codec.TensorError) -> InvalidArgumentError:
    """Return the error for an array that has no form on the wire."""
    return invalid(f"{field}.{error.field}", str(error), "INVALID_TENSOR")


def int32(field: str, value: int) -> int:
    """Return an integer that the wire has room for.

    Raises:
        InvalidArgumentError: It has more than 32 bits.
    """
    if value not in _INT32:
        raise invalid(field, f"must be at least -2**31 and less than 2**31, got {value}")
    return value


def int64(field: str, value: int) -> int:
    """Return an integer that the wire has room for.

    Raises:
        InvalidArgumentError: It has more than 64 bits.
    """
    if value not in _INT64:
        raise invalid(field, f"must be at least -2**63 and less than 2**63, got {value}")
    return value


def optional_int64(field: str, value: int | None) -> int | None:
    """Return None for None, else as `int64`."""
    return None if value is None else int64(field, value)
