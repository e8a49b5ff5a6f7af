"""From an nn.Module to a model on a server."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from gradserve import _original_names
from gradserve._client import Client
from gradserve._errors import Error, FailedPreconditionError
from gradserve._model import Model
from gradserve._model_requests import DeviceLike
from gradserve._options import UNSET, Timeout

if TYPE_CHECKING:
    import torch

    from gradserve.torch._reading import ReadModule


def deploy(
    module: torch.nn.Module, name: str, client: Client, *, device: DeviceLike = "auto", timeout: Timeout = UNSET
) -> Model:
    """Create a model with the layers and the weights of a torch module, and return its handle.

    The module is an nn.Sequential, or any other whose forward applies layers that the server knows one after the other:
    submodules, or functions such as torch.relu, torch.flatten and F.dropout. It must take and return one tensor. Its
    code stays here: only layers and weights are sent. dtype and requires_grad are kept. On the server the layers are
    named `layers.<index>`; the checkpoint "deployed" keeps the names that they had, for `original_names=True`, and the
    weights as they are now, unless the server keeps nothing on disk.

    The model is created first and its weights are loaded then. Whoever calls it in between meets weights drawn at
    random, under a version of their own.

    Args:
        module: What to deploy; it stays as it is.
        name: The new model's name.
        client: A client of the server.
        device: As in `Client.create_model`.
        timeout: As in `Client.create_model`, for each call; default: the client's.

    Raises:
        InvalidArgumentError: The module computes anything else; the message says what and where.
        AlreadyExistsError: The name is taken.
        ModuleNotFoundError: torch is not installed.
        Error: The server refuses the model, or a call fails. No model is left behind.
    """
    from gradserve.torch._reading import read  # noqa: PLC0415 - needs torch, and nothing else does

    found = read(module)
    model = client.create_model(name, found.architecture, dtype=found.dtype, device=device, timeout=timeout)
    try:
        _fill(model, found, timeout)
    except BaseException:
        # The first failure is the one to tell.
        with contextlib.suppress(Error):
            client.delete_model(name, timeout=timeout)
        raise
    return model


def _fill(model: Model, found: ReadModule, timeout: Timeout) -> None:
    for parameter in found.frozen:
        model.requires_grad_(parameter, requires_grad=False, timeout=timeout)
    model.load_state_dict(found.state_dict, timeout=timeout)
    metadata = _original_names.to_metadata(found.layers)
    try:
        model.save_checkpoint(_original_names.CHECKPOINT, metadata=metadata, timeout=timeout)
    except FailedPreconditionError as error:
        # A server that keeps nothing on disk keeps no names either, and says so when it is asked for them.
        if error.reason != "EPHEMERAL":
            raise
