"""Gradserve serves PyTorch MLPs with their gradients; this is its Python SDK."""

from gradserve.__about__ import __version__
from gradserve._architecture import MLP, Layer, Sequential
from gradserve._client import Client
from gradserve._errors import (
    AbortedError,
    AlreadyExistsError,
    CancelledError,
    ClientClosedError,
    DataLossError,
    DeadlineExceededError,
    Error,
    FailedPreconditionError,
    FieldViolation,
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
from gradserve._model import Model
from gradserve._results import Device, Gradients, Limits, ModelInfo, ParameterInfo, ServerInfo

__all__ = [
    "MLP",
    "AbortedError",
    "AlreadyExistsError",
    "CancelledError",
    "Client",
    "ClientClosedError",
    "DataLossError",
    "DeadlineExceededError",
    "Device",
    "Error",
    "FailedPreconditionError",
    "FieldViolation",
    "Gradients",
    "InternalError",
    "InvalidArgumentError",
    "Layer",
    "Limits",
    "Model",
    "ModelInfo",
    "NotFoundError",
    "OutOfRangeError",
    "ParameterInfo",
    "PermissionDeniedError",
    "ResourceExhaustedError",
    "Sequential",
    "ServerInfo",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "UnknownError",
    "__version__",
]
