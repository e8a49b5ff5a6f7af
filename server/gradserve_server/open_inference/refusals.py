"""Refusals in the protocol's terms: Triton's status for each, and the field of its request that is at fault."""

from __future__ import annotations

import re
from collections.abc import Mapping

from gradserve_server.errors import (
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    ServiceError,
    Unavailable,
)
from gradserve_server.open_inference.grpc_service_pb2 import ModelInferRequest

_INFER_FIELDS = {
    "model": "model_name",
    "if_version": "model_version",
    "loss": "parameters[loss]",
    "loss.name": "parameters[loss]",
    "loss.reduction": "parameters[reduction]",
    "loss.arguments": "parameters",
}
"""What a field of gradserve.v1 is called here; tensors are told by their place."""

_TENSORS = {"input": "input", "grad_output": "grad_output", "loss.target": "target"}

_MOST_INPUTS = len(_TENSORS)

# A path, and the part of a tensor or the name of an argument behind it.
_PATH = re.compile(r"(.*?)(\.shape|\.dtype|\[.*\])?")

_UNAVAILABLE = (DataLoss, DeadlineExceeded, FailedPrecondition)
"""What Triton has no status for: its model is not ready, or was not asked in time."""


def infer_refusal(refusal: ServiceError, request: ModelInferRequest) -> ServiceError:
    """The refusal of a ModelInfer as a client of Triton expects it, with the same message and reason."""
    first = request.inputs[:_MOST_INPUTS]
    places = {tensor.name: f"inputs[{index}]" for index, tensor in enumerate(first)}
    tensors = {path: places.get(name, "inputs") for path, name in _TENSORS.items()}
    field = _renamed(refusal.field, _INFER_FIELDS | tensors)
    if isinstance(refusal, ResourceExhausted) and refusal.retry_after is not None:
        return Unavailable(refusal.message, field=field, reason=refusal.reason, retry_after=refusal.retry_after)
    return _kind(refusal)(refusal.message, field=field, reason=refusal.reason)


def repository_refusal(refusal: ServiceError) -> ServiceError:
    """The refusal of a load or an unload, which keeps its status."""
    fields = {"model": "model_name", "name": "model_name", "checkpoint": "parameters[config]"}
    return type(refusal)(refusal.message, field=_renamed(refusal.field, fields), reason=refusal.reason)


def _kind(refusal: ServiceError) -> type[ServiceError]:
    if refusal.reason == "VERSION_MISMATCH" or refusal.field == "model":
        # No model has a name that none can have.
        return NotFound if isinstance(refusal, FailedPrecondition | InvalidArgument) else type(refusal)
    if isinstance(refusal, ResourceExhausted) and refusal.field:
        return InvalidArgument
    return Unavailable if isinstance(refusal, _UNAVAILABLE) else type(refusal)


def _renamed(field: str, names: Mapping[str, str]) -> str:
    match = _PATH.fullmatch(field)
    path, part = (match[1], match[2] or "") if match else (field, "")
    return names[path] + part.replace(".dtype", ".datatype") if path in names else field
