"""MLServer: the Open Inference Protocol over gRPC, requests joined into batches, no parallel workers."""

from __future__ import annotations

import asyncio

import mlserver
import numpy as np
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.nets import NETS
from benchmarks.peers.servers.net_on_one_thread import NetOnOneThread, from_command_line

_MOST_ROWS = 64
_LONGEST_WAIT = 0.001


class NetModel(mlserver.MLModel):
    """A net, in MLServer's words."""

    async def load(self) -> bool:
        """Load the net that has the model's name."""
        self._net = NetOnOneThread(NETS[self.name])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """The output."""
        x = np.asarray(NumpyCodec.decode_input(payload.inputs[0]), np.float32)
        output = NumpyCodec.encode_output("y", self._net.forward(x))
        return InferenceResponse(model_name=self.name, outputs=[output])


async def _serve(name: str, port: int) -> None:
    settings = mlserver.Settings(
        host="127.0.0.1", grpc_port=port, http_port=port + 1, metrics_port=port + 2, parallel_workers=0, debug=False
    )
    model = mlserver.ModelSettings(
        name=name, implementation=NetModel, max_batch_size=_MOST_ROWS, max_batch_time=_LONGEST_WAIT
    )
    await mlserver.MLServer(settings).start([model])


if __name__ == "__main__":
    net, port = from_command_line()
    asyncio.run(_serve(net.net.name, port))
