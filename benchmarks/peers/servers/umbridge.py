"""UM-Bridge's own HTTP server: one point for each call, numbers in JSON, no batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import umbridge

from benchmarks.peers.servers.net_on_one_thread import NetOnOneThread, from_command_line


class NetModel(umbridge.Model):
    """A net, in UM-Bridge's words."""

    def __init__(self, net: NetOnOneThread) -> None:
        super().__init__(net.net.name)
        self._net = net

    def get_input_sizes(self, config: Any) -> list[int]:
        """The width of the input."""
        return [self._net.net.in_features]

    def get_output_sizes(self, config: Any) -> list[int]:
        """The width of the output."""
        return [self._net.net.out_features]

    def __call__(self, parameters: list[list[float]], config: Any) -> list[list[float]]:
        """The output."""
        return self._net.forward(np.array(parameters, np.float32)).tolist()

    def gradient(
        self,
        out_wrt: int,
        in_wrt: int,
        parameters: list[list[float]],
        sens: Sequence[float],
        config: Any,
    ) -> list[float]:
        """The vector-Jacobian product."""
        vector = np.array([sens], np.float32)
        return self._net.vector_jacobian_product(np.array(parameters, np.float32), vector)[0].tolist()

    def supports_evaluate(self) -> bool:
        """It does."""
        return True

    def supports_gradient(self) -> bool:
        """It does."""
        return True


if __name__ == "__main__":
    net, port = from_command_line()
    umbridge.serve_models([NetModel(net)], port)
