"""Parameters of a request: those that Triton gives a meaning, and those that are left to a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from gradserve_server.errors import InvalidArgument
from gradserve_server.open_inference.grpc_service_pb2 import InferParameter

Value: TypeAlias = bool | int | float | str

_TYPES: Final = {
    "timeout": ("int64_param",),
    "priority": ("int64_param", "uint64_param"),
    "sequence_id": ("int64_param", "string_param"),
    "sequence_start": ("bool_param",),
    "sequence_end": ("bool_param",),
}
"""What is Triton's, and the type that it wants. Only the timeout means something here: there are no priorities, and no
model has sequences, so that Triton would ignore the others too."""

_IGNORED: Final = frozenset(("headers", "binary_data_output", "triton_enable_empty_final_response"))
_RESERVED: Final = "triton_"
_MICROSECONDS: Final = 1_000_000
_MOST: Final = 32
_LONGEST_NAME: Final = 64


def check_count(parameters: Mapping[str, InferParameter], field: str) -> None:
    """Check that there are no more parameters than anybody needs.

    Raises:
        InvalidArgument: If there are.
    """
    if len(parameters) > _MOST:
        raise InvalidArgument(f"has {len(parameters)} entries; at most {_MOST}", field=field)


def timeout_of(parameters: Mapping[str, InferParameter]) -> float | None:
    """The seconds within which a request is to be computed; None if it sets none.

    Raises:
        InvalidArgument: If the timeout is not an integer.
    """
    if "timeout" not in parameters:
        return None
    _check_type("timeout", parameters["timeout"])
    microseconds = parameters["timeout"].int64_param
    return microseconds / _MICROSECONDS if microseconds > 0 else None


def model_parameters(parameters: Mapping[str, InferParameter]) -> dict[str, Value]:
    """The parameters without those that are Triton's.

    Raises:
        InvalidArgument: If there are too many, one has no value, one of Triton's has another type than it wants, or a
            name is reserved.
    """
    check_count(parameters, "parameters")
    found: dict[str, Value] = {}
    for name, parameter in parameters.items():
        if name in _TYPES:
            _check_type(name, parameter)
        elif name not in _IGNORED:
            if name.startswith(_RESERVED):
                message = f"names that begin with {_RESERVED} are reserved"
                raise InvalidArgument(message, field=_path(name), reason="RESERVED_PARAMETER")
            found[name] = _value(name, parameter)
    return found


def _check_type(name: str, parameter: InferParameter) -> None:
    if parameter.WhichOneof("parameter_choice") not in _TYPES[name]:
        raise InvalidArgument(f"takes {' or '.join(_TYPES[name])}", field=_path(name))


def _value(name: str, parameter: InferParameter) -> Value:
    kind = parameter.WhichOneof("parameter_choice")
    if kind is None:
        raise InvalidArgument("has no value", field=_path(name))
    value: Value = getattr(parameter, kind)
    return value


def _path(name: str) -> str:
    return f"parameters[{name[:_LONGEST_NAME]}]"
