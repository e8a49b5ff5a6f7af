"""A model on a server as an nn.Module."""

from __future__ import annotations

from itertools import chain
from typing import NoReturn

import torch
from torch import nn

from gradserve import Client
from gradserve.torch import _modules
from gradserve.torch._autograd import Forward
from gradserve.torch._mirror import Mirror, unchanged_by_others
from gradserve.torch._remote_call import RemoteCall
from gradserve.torch._tensors import tensors


class RemoteModule(nn.Module):
    """A model on a server that is used as a module in process: `loss(remote(x), y).backward()` fills `.grad`.

    Outputs and derivatives are computed on the server; an optimizer steps here. The parameters and buffers of
    `layers`, an nn.Sequential, are copies of the server's under the same names. Whatever changes them, the next forward
    sends the changed ones first, not to the server's disk. Calling `layers` itself computes in process.

    Both modes of torch.autograd, second derivatives, and the transforms of torch.func work as with a module in process;
    what cannot be had faithfully raises a NotImplementedError that says why. A call that fails raises its
    `gradserve.Error` where torch calls forward or backward. Deadlines are the client's.

    It cannot be copied or pickled, as two copies would share one model on the server; its `state_dict()` can.

    Attributes:
        layers: The layers.
        model: The handle of the model on the server.
    """

    def __init__(self, client: Client | str | None, name: str, *, deterministic: bool = True) -> None:
        """Fetch a model's layers and weights.

        Args:
            client: A client, or the target to make one with.
            name: The model's name.
            deterministic: Whether to compute bit-equal to torch in process, on the same kind of device with the same
                number of threads. Otherwise rows may be computed with those of others, which is faster under load.

        Raises:
            Error: A call fails, with NotFoundError if there is no model of that name.
        """
        super().__init__()
        self.model = (client if isinstance(client, Client) else Client(client)).model(name)
        self.deterministic = deterministic
        info, state = self.model.info(), self.model.state_dict()
        # Each array gets memory of its own: together they are one piece, which would be kept for the last of them.
        weights = {name.removeprefix("layers."): tensor.clone() for name, tensor in tensors(state).items()}
        self.layers = _modules.modules(info.architecture, weights)
        for parameter in info.named_parameters:
            self.get_parameter(parameter.name).requires_grad_(parameter.requires_grad)
        self._mirror = Mirror(self.model, self.state_dict(), state.version)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the output, on the server.

        Args:
            x: Floating, of shape [..., in_features].

        Raises:
            NotImplementedError: A BatchNorm1d would update its statistics, or not all layers are in one mode.
            AbortedError: Weights have changed here, and somebody else has changed them on the server.
            FailedPreconditionError: Somebody else has changed the weights on the server.
            Error: As `Model.forward`.
        """
        training = _modules.in_training(self.layers)
        weights = dict(chain(self.named_parameters(), self.named_buffers()))
        call = RemoteCall(
            self.model,
            self._mirror,
            ("input", *weights),
            training=training,
            seed=_drawn() if training and _modules.is_random(self.layers) else None,
            deterministic=self.deterministic,
        )
        output: torch.Tensor = Forward.apply(call, x, *weights.values())
        return output

    def pull(self) -> int:
        """Take the server's weights, and return their version.

        Raises:
            TypeError: The model is of another dtype there than here.
            Error: As `Model.state_dict`.
        """
        state, own = self.model.state_dict(), self.state_dict()
        weights = tensors(state)
        for name, tensor in weights.items():
            if tensor.dtype != own[name].dtype:
                raise TypeError(f"{name} is {tensor.dtype} on the server and {own[name].dtype} here: use to() first")
        self.load_state_dict(weights)
        self._mirror.note(self.state_dict(), state.version)
        return state.version

    def push(self, *, durable: bool = True, force: bool = False) -> int:
        """Send all weights to the server, and return their version there.

        Args:
            durable: Whether they are on the server's disk before this returns.
            force: Whether to replace weights that somebody else has changed on the server.

        Raises:
            AbortedError: Somebody else has changed them, and there is no `force`.
            Error: As `Model.load_state_dict`.
        """
        state = self.state_dict()
        with unchanged_by_others(self.model.name):
            version = None if force else self._mirror.version
            loaded = self.model.load_state_dict(state, if_version=version, durable=durable)
        self._mirror.note(state, loaded.version)
        return loaded.version

    def extra_repr(self) -> str:
        """Name the model, which `print` shows before the layers."""
        return repr(self.model)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            "a RemoteModule cannot be copied or pickled: it stands for one model on a server. Copy or save its "
            "state_dict(), or make another RemoteModule"
        )


def _drawn() -> int:
    """Return a seed from torch's global generator, so that torch.manual_seed rules this one too."""
    return int(torch.randint(2**63 - 1, ()))
