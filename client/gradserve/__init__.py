"""Gradserve serves PyTorch MLPs with their gradients; this is its Python SDK."""

from gradserve.__about__ import __version__
from gradserve._architecture import MLP, Layer, Sequential
from gradserve._async.client import AsyncClient
from gradserve._async.model import AsyncModel
from gradserve._async.stream import AsyncStream
from gradserve._deploy import deploy
from gradserve._derivative_results import (
    CheckedGradients,
    GradientCheck,
    Gradients,
    HessianVectorProducts,
    Jacobians,
    JacobianVectorProduct,
    TaylorRemainder,
)
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
from gradserve._event_loop.future import AsyncFuture
from gradserve._objective import Objective
from gradserve._results import (
    Checkpoint,
    Device,
    Limits,
    LoadedStateDict,
    ModelInfo,
    ParameterInfo,
    ServerInfo,
    StateDict,
)
from gradserve._sync.client import Client
from gradserve._sync.model import Model
from gradserve._sync.stream import Stream
from gradserve._threads.future import Future

__all__ = [
    "MLP",
    "AbortedError",
    "AlreadyExistsError",
    "AsyncClient",
    "AsyncFuture",
    "AsyncModel",
    "AsyncStream",
    "CancelledError",
    "CheckedGradients",
    "Checkpoint",
    "Client",
    "ClientClosedError",
    "DataLossError",
    "DeadlineExceededError",
    "Device",
    "Error",
    "FailedPreconditionError",
    "FieldViolation",
    "Future",
    "GradientCheck",
    "Gradients",
    "HessianVectorProducts",
    "InternalError",
    "InvalidArgumentError",
    "JacobianVectorProduct",
    "Jacobians",
    "Layer",
    "Limits",
    "LoadedStateDict",
    "Model",
    "ModelInfo",
    "NotFoundError",
    "Objective",
    "OutOfRangeError",
    "ParameterInfo",
    "PermissionDeniedError",
    "ResourceExhaustedError",
    "Sequential",
    "ServerInfo",
    "StateDict",
    "Stream",
    "TaylorRemainder",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "UnknownError",
    "__version__",
    "deploy",
]
