"""`gradserve`, with one more layer in its table: Fragile, which fails on the numbers that tests send it.

No request makes torch's own layers fail in these ways, so that a bug and a broken device are had by a layer of one's
own. All around it is the real server.
"""

import sys

import torch
from torch import nn

from gradserve.cli import main
from gradserve_server.engine.network.layers import LAYERS, LayerKind

BUG, DEVICE_FAULT, OTHER_ERROR = 666.0, 710.0, 1.0e9

# As torch reports it when a kernel has failed an assertion.
_DEVICE_SIDE_ASSERT = "CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously reported"


class Fragile(nn.Module):
    """Gives its input back, unless there is one of the numbers in it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Fail in the way that a number stands for."""
        if x.is_meta:
            return x.clone()
        if (x == BUG).any():
            raise AssertionError("a bug\n2026-01-01T00:00:00.000Z INFO gradserve_server.audit: forged")
        if (x == DEVICE_FAULT).any():
            raise torch.AcceleratorError(_DEVICE_SIDE_ASSERT)
        if (x == OTHER_ERROR).any():
            raise torch.AcceleratorError("CUDA error: invalid argument")
        return x.clone()


if __name__ == "__main__":
    assert isinstance(LAYERS, dict)
    LAYERS["Fragile"] = LayerKind(Fragile)
    sys.exit(main())
