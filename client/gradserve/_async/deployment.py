"""From what was read in an nn.Module to a model on a server."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from gradserve import _original_names
from gradserve._async.client import AsyncClient
from gradserve._async.model import AsyncModel
from gradserve._errors import Error, FailedPreconditionError
from gradserve._model_requests import DeviceLike
from gradserve._options import Timeout

if TYPE_CHECKING:
    from gradserve.torch._reading import ReadModule


async def deploy(
    found: ReadModule, name: str, client: AsyncClient, *, device: DeviceLike, timeout: Timeout
) -> AsyncModel:
    """Create a model with the layers and the weights that were found, and return its handle.

    Raises:
        Error: The server refuses the model, or a call fails. No model is left behind.
    """
    model = await client.create_model(name, found.architecture, dtype=found.dtype, device=device, timeout=timeout)
    try:
        await _fill(model, found, timeout)
    except BaseException:
        # The first failure is the one to tell.
        with contextlib.suppress(Error):
            await client.delete_model(name, timeout=timeout)
        raise
    return model


async def _fill(model: AsyncModel, found: ReadModule, timeout: Timeout) -> None:
    for parameter in found.frozen:
        await model.requires_grad_(parameter, requires_grad=False, timeout=timeout)
    await model.load_state_dict(found.state_dict, timeout=timeout)
    metadata = _original_names.to_metadata(found.layers)
    try:
        await model.save_checkpoint(_original_names.CHECKPOINT, metadata=metadata, timeout=timeout)
    except FailedPreconditionError as error:
        # A server that keeps nothing on disk keeps no names either, and says so when it is asked for them.
        if error.reason != "EPHEMERAL":
            raise
