"""LitServe: HTTP with JSON, requests joined into batches."""

from typing import Any

import litserve
import numpy as np
from numpy.typing import NDArray

from benchmarks.nets import NETS
from benchmarks.peers.servers.net_on_one_thread import NetOnOneThread, from_command_line

_MOST_ROWS = 64


class NetAPI(litserve.LitAPI):
    """A net, in LitServe's words."""

    def __init__(self, name: str) -> None:
        super().__init__(max_batch_size=_MOST_ROWS, batch_timeout=0.0)
        self._name = name

    def setup(self, device: str) -> None:
        """Load the net, in the worker's process."""
        self._net = NetOnOneThread(NETS[self._name])

    def decode_request(self, request: dict[str, Any]) -> NDArray[np.float32]:
        """One row."""
        return np.array(request["input"], np.float32)

    def batch(self, inputs: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Rows of several requests."""
        return np.stack(inputs)

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The output."""
        return self._net.forward(x)

    def unbatch(self, output: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Each request's row."""
        return list(output)

    def encode_response(self, output: NDArray[np.float32]) -> dict[str, Any]:
        """The output in JSON."""
        return {"output": output.tolist()}


if __name__ == "__main__":
    net, port = from_command_line()
    server = litserve.LitServer(NetAPI(net.net.name), accelerator="cpu", workers_per_device=1)
    server.run(port=port, host="127.0.0.1", num_api_servers=1, generate_client_file=False, log_level="warning")
