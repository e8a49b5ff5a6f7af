"""KServe's model server: the Open Inference Protocol over gRPC, no batches there."""

from __future__ import annotations

from typing import Any

import kserve
import numpy as np

from benchmarks.peers.servers.net_on_one_thread import NetOnOneThread, from_command_line


class NetModel(kserve.Model):
    """A net, in KServe's words."""

    def __init__(self, net: NetOnOneThread) -> None:
        super().__init__(net.net.name)
        self._net = net
        self.ready = True

    async def predict(self, payload: Any, *_more: Any, **_named: Any) -> kserve.InferResponse:
        """The output."""
        y = self._net.forward(payload.inputs[0].as_numpy())
        output = kserve.InferOutput("y", list(y.shape), "FP32")
        output.set_data_from_numpy(np.ascontiguousarray(y), binary_data=True)
        return kserve.InferResponse(payload.id, self.name, [output])


if __name__ == "__main__":
    net, port = from_command_line()
    server = kserve.ModelServer(grpc_port=port, http_port=port + 1, workers=1, enable_latency_logging=False)
    server.start([NetModel(net)])
