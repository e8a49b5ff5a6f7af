# Written by client/generate.py from gradserve/_async/deployment.py: edit that, and run `make sync`.
"""From what was read in an nn.Module to a model on a server."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from gradserve import _original_names
from gradserve._errors import Error, FailedPreconditionError
from gradserve._model_requests import DeviceLike
from gradserve._options import Timeout
from gradserve._sync.client import Client
from gradserve._sync.model import Model

if TYPE_CHECKING:
    from gradserve.torch._reading import ReadModule


def deploy(found: ReadModule, name: str, client: Client, *, device: DeviceLike, timeout: Timeout) -> Model:
    """Create a model with the layers and the weights that were found, and return its handle.

    Raises:
        Error: The server refuses the model, or a call fails. No model is left behind.
    """
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
