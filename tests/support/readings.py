"""What becomes of the bytes of a request, in a form that can be compared."""

from dataclasses import fields

import numpy as np
from google.protobuf.message import DecodeError

from gradserve_server.errors import ServiceError


def outcome(parse, data):
    """What a request says, or how it is refused."""
    try:
        *_, read = readable = parse(data)
    except DecodeError:
        return "malformed"
    try:
        return readable[0], told(read())
    except ServiceError as refusal:
        return readable[0], type(refusal), refusal.field, str(refusal)


def told(value):
    """What a call says, so that it can be compared."""
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, value.tobytes(), value.flags.aligned
    if isinstance(value, dict):
        return {name: told(inner) for name, inner in value.items()}
    if hasattr(value, "__dataclass_fields__"):
        return {field.name: told(getattr(value, field.name)) for field in fields(value) if field.name != "form"}
    return repr(value)
