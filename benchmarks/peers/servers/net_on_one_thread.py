"""What every peer serves: a net in eager torch, on one thread."""

from __future__ import annotations

import sys

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.nets import NETS, Net


class NetOnOneThread:
    """A net that takes and gives arrays.

    Attributes:
        net: Which.
    """

    def __init__(self, net: Net) -> None:
        torch.set_num_threads(1)
        self.net = net
        self._module = net.module().eval()

    def forward(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The output for rows, [rows, in_features]."""
        with torch.inference_mode():
            return np.asarray(self._module(torch.from_numpy(x)))

    def vector_jacobian_product(self, x: NDArray[np.float32], vector: NDArray[np.float32]) -> NDArray[np.float32]:
        """The product of a vector, shaped as the output, with the Jacobian by the input."""
        leaf = torch.from_numpy(x).requires_grad_()
        (gradient,) = torch.autograd.grad(self._module(leaf), leaf, torch.from_numpy(vector))
        return np.asarray(gradient)


def from_command_line() -> tuple[NetOnOneThread, int]:
    """The net and the port that the program's two arguments name."""
    name, port = sys.argv[1:]
    return NetOnOneThread(NETS[name]), int(port)
