"""A ModelInferRequest, read as what it asks of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gradserve_server.errors import InvalidArgument, Unimplemented
from gradserve_server.open_inference.grpc_service_pb2 import ModelInferRequest
from gradserve_server.open_inference.parameters import Value, check_count, model_parameters
from gradserve_server.open_inference.tensors import SHARED_MEMORY, read_inputs
from gradserve_server.operations.arrays import Array
from gradserve_server.operations.calls import ForwardCall, GradientCall, LossCall
from gradserve_server.selection import INPUT

FORWARD_INPUTS: Final = ("input",)
FORWARD_OUTPUTS: Final = ("output",)
GRADIENT_INPUTS: Final = ("input", "grad_output", "target")
GRADIENT_OUTPUTS: Final = ("loss", "output", "input_gradient")

_CLASSIFICATION: Final = "classification"
_LONGEST_NAME: Final = 64
_LONGEST_VERSION: Final = len(str(2**63))


def forward_call(request: ModelInferRequest) -> ForwardCall:
    """What is asked of NAME. Parameters that Triton gives no meaning are for models, and none takes any.

    Raises:
        ServiceError: If the request is not whole.
    """
    _parameters(request)
    _check_outputs(request, FORWARD_OUTPUTS)
    inputs = read_inputs(request, FORWARD_INPUTS)
    return ForwardCall(
        input=_required(inputs.get("input")), if_version=version_of(request.model_version, "model_version")
    )


def gradient_call(request: ModelInferRequest) -> GradientCall:
    """What is asked of NAME.gradient: a gradient by the input, of a loss or along a vector.

    Raises:
        ServiceError: If the request is not whole.
    """
    parameters = _parameters(request)
    wanted = _check_outputs(request, GRADIENT_OUTPUTS)
    inputs = read_inputs(request, GRADIENT_INPUTS)
    loss = _loss_call(parameters, inputs.get("target"))
    if loss is None and "loss" in wanted:
        raise InvalidArgument("there is a loss only where the parameter loss names one", field="outputs")
    return GradientCall(
        input=_required(inputs.get("input")),
        loss=loss,
        grad_output=inputs.get("grad_output"),
        wrt=(INPUT,),
        return_output=not wanted or "output" in wanted,
        if_version=version_of(request.model_version, "model_version"),
    )


def version_of(text: str, field: str) -> int | None:
    """The version that a request names; None for any.

    Raises:
        InvalidArgument: If it is not a whole number above 0.
    """
    if not text:
        return None
    # int() takes other scripts' digits, underscores and spaces too.
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_VERSION and int(text) > 0):
        raise InvalidArgument(f"must be a whole number above 0, got {text[:32]!r}", field=field)
    return int(text)


def _parameters(request: ModelInferRequest) -> dict[str, Value]:
    return model_parameters(request.parameters) if request.parameters else {}


def _check_outputs(request: ModelInferRequest, known: Sequence[str]) -> list[str]:
    """The names of the outputs that are asked for."""
    names: list[str] = []
    for index, output in enumerate(request.outputs):
        if output.name not in known:
            message = f"there is no output {output.name[:_LONGEST_NAME]!r}: one of {', '.join(known)}"
            raise InvalidArgument(message, field=f"outputs[{index}].name")
        if output.name in names:
            raise InvalidArgument(f"{output.name} is asked for twice", field=f"outputs[{index}].name")
        check_count(output.parameters, f"outputs[{index}].parameters")
        for name in output.parameters:
            if name == _CLASSIFICATION or name.startswith(SHARED_MEMORY):
                path = f"outputs[{index}].parameters[{name}]"
                raise Unimplemented("is not understood here", field=path, reason="NO_SUCH_EXTENSION")
        names.append(output.name)
    return names


def _required(tensor: Array | None) -> Array:
    if tensor is None:
        raise InvalidArgument("the input named input is required", field="inputs")
    return tensor


def _loss_call(parameters: dict[str, Value], target: Array | None) -> LossCall | None:
    """The loss that the parameters name, with its arguments among them; None if there is none."""
    name, reduction = parameters.pop("loss", None), parameters.pop("reduction", "")
    if name is None:
        if target is not None or reduction:
            raise InvalidArgument("required beside a target or a reduction", field="parameters[loss]")
        return None
    arguments: dict[str, bool | int | float] = {}
    for key, value in (("loss", name), ("reduction", reduction)):
        if not isinstance(value, str):
            raise InvalidArgument("must be a string_param", field=f"parameters[{key}]")
    for key, value in parameters.items():
        if isinstance(value, str):
            raise InvalidArgument("no argument of a loss is a string", field=f"parameters[{key}]")
        arguments[key] = value
    return LossCall(str(name), target, str(reduction), arguments)
