"""From an nn.Module to a model on a server."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, overload

from gradserve._async.client import AsyncClient
from gradserve._async.deployment import deploy as deploy_awaiting
from gradserve._async.model import AsyncModel
from gradserve._model_requests import DeviceLike
from gradserve._options import UNSET, Timeout
from gradserve._sync.client import Client
from gradserve._sync.deployment import deploy as deploy_waiting
from gradserve._sync.model import Model

if TYPE_CHECKING:
    import torch


@overload
def deploy(
    module: torch.nn.Module, name: str, client: Client, *, device: DeviceLike = ..., timeout: Timeout = ...
) -> Model: ...


@overload
def deploy(
    module: torch.nn.Module, name: str, client: AsyncClient, *, device: DeviceLike = ..., timeout: Timeout = ...
) -> Coroutine[Any, Any, AsyncModel]: ...


def deploy(
    module: torch.nn.Module,
    name: str,
    client: Client | AsyncClient,
    *,
    device: DeviceLike = "auto",
    timeout: Timeout = UNSET,
) -> Model | Coroutine[Any, Any, AsyncModel]:
    """Create a model with the layers and the weights of a torch module, and return its handle.

    With an `AsyncClient`, await it.

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
        client: A client of the server, of either kind.
        device: As in `create_model`.
        timeout: As in `create_model`, for each call; default: the client's.

    Raises:
        InvalidArgumentError: The module computes anything else; the message says what and where.
        AlreadyExistsError: The name is taken.
        ModuleNotFoundError: torch is not installed.
        Error: The server refuses the model, or a call fails. No model is left behind.
    """
    from gradserve.torch._reading import read  # noqa: PLC0415 - needs torch, and nothing else does

    found = read(module)
    if isinstance(client, AsyncClient):
        return deploy_awaiting(found, name, client, device=device, timeout=timeout)
    return deploy_waiting(found, name, client, device=device, timeout=timeout)
