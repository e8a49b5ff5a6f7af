"""PyTriton: Triton's server with a net in Python behind it: the Open Inference Protocol over gRPC, with batches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from benchmarks.peers.servers.net_on_one_thread import NetOnOneThread, from_command_line

_MOST_ROWS = 64

Infer = Callable[..., dict[str, NDArray[np.float32]]]


def _infer(net: NetOnOneThread) -> Infer:
    @batch
    def infer(x: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        return {"y": net.forward(x)}

    return infer


if __name__ == "__main__":
    net, port = from_command_line()
    config = TritonConfig(grpc_port=port, http_port=port + 1, metrics_port=port + 2)
    with Triton(config=config) as triton:
        triton.bind(
            model_name=net.net.name,
            infer_func=_infer(net),
            inputs=[Tensor(name="x", dtype=np.float32, shape=(net.net.in_features,))],
            outputs=[Tensor(name="y", dtype=np.float32, shape=(net.net.out_features,))],
            config=ModelConfig(max_batch_size=_MOST_ROWS, batcher=DynamicBatcher()),
        )
        triton.serve()
