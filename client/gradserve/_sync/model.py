# Written by client/generate.py from gradserve/_async/model.py: edit that, and run `make sync`.
"""A handle of one model on a server."""

from __future__ import annotations

from typing import Self

from gradserve import _model_requests, _replies
from gradserve._model_requests import DeviceLike, DTypeLike
from gradserve._options import UNSET, Timeout
from gradserve._results import ModelInfo, ParameterInfo
from gradserve._sync.differentiation import Differentiation
from gradserve._sync.inference import Inference
from gradserve._sync.weights import Weights
from gradserve.v1 import model_pb2


class Model(Inference, Differentiation, Weights):
    """One model of a server, by its name.

    Inputs are numpy arrays, torch tensors, or numbers in nested lists, which become what torch.tensor makes of them.
    What comes back is of the input's kind: torch tensors on the input's device for a torch tensor, else numpy arrays;
    either may be written to. torch is not needed unless it is used.

    A handle holds no state: any number of threads, or tasks, may use it, and a call to a model that is gone is a
    NotFoundError. Every method takes `timeout=` seconds for that call.

    Attributes:
        name: The model's name.
    """

    def info(self, *, timeout: Timeout = UNSET) -> ModelInfo:
        """Return what the server tells of the model.

        Raises:
            NotFoundError: There is none of that name.
        """
        request = model_pb2.GetModelRequest(name=self.name)
        reply = self._caller.call(self._caller.connection.models.GetModel, request, timeout)
        return _replies.model_info(reply.model)

    def named_parameters(self, *, timeout: Timeout = UNSET) -> list[tuple[str, ParameterInfo]]:
        """Return the parameters' names with their shapes, dtypes and requires_grad, in torch's order."""
        info = self.info(timeout=timeout)
        return [(parameter.name, parameter) for parameter in info.named_parameters]

    def to(
        self,
        device: DeviceLike | None = None,
        *,
        dtype: DTypeLike | None = None,
        if_version: int | None = None,
        timeout: Timeout = UNSET,
    ) -> Self:
        """Move the model to a device, convert it to a dtype, or both; return the handle.

        Args:
            device: As in `Client.create_model`. The version stays.
            dtype: As in `Client.create_model`. The version goes up.
            if_version: The version that the model must be at; None for any.
            timeout: Seconds; default: the client's.

        Raises:
            FailedPreconditionError: The host does not have the device.
            AbortedError: The model is at another version than `if_version`.
        """
        request = _model_requests.move(self.name, device=device, dtype=dtype, if_version=if_version)
        self._caller.call(self._caller.connection.models.UpdateModel, request, timeout)
        return self

    def requires_grad_(
        self,
        parameters: str = "*",
        requires_grad: bool = True,  # noqa: FBT001, FBT002 - as torch has it
        *,
        if_version: int | None = None,
        timeout: Timeout = UNSET,
    ) -> Self:
        """Free the parameters that a glob matches, or freeze them; return the handle.

        Args:
            parameters: A glob over the parameters' names, such as "layers.0.*".
            requires_grad: Whether gradients flow to them by default.
            if_version: The version that the model must be at; None for any.
            timeout: Seconds; default: the client's.

        Raises:
            InvalidArgumentError: The glob matches nothing.
            AbortedError: The model is at another version than `if_version`.
        """
        request = _model_requests.set_requires_grad(
            self.name, parameters, requires_grad=requires_grad, if_version=if_version
        )
        self._caller.call(self._caller.connection.models.UpdateModel, request, timeout)
        return self

    def __repr__(self) -> str:
        return f"<gradserve.{type(self).__name__} {self.name!r} at {self._caller.connection.options.target}>"
