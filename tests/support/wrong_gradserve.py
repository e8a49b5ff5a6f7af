"""`gradserve`, whose derivative of Tanh is too large by a twentieth. All around it is the real server."""

import sys

from torch import nn

from gradserve.cli import main
from gradserve_server.engine.network.derivatives import DERIVATIVES

if __name__ == "__main__":
    right = DERIVATIVES[nn.Tanh]
    assert isinstance(DERIVATIVES, dict)
    DERIVATIVES[nn.Tanh] = lambda layer: lambda *given: 1.05 * right(layer)(*given)
    sys.exit(main())
