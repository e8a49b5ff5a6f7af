"""The net and the identities behind PyTriton, in the environment that `python -m benchmarks.peers pytriton` makes.

    python pytriton_server.py PORT

PORT is for gRPC; the two behind it are for HTTP and metrics.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig, TritonSecurityConfig
from torch import nn

ANY_WIDTH = -1


def net() -> nn.Module:
    """The bundled model, as torch draws it."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(50, 30), nn.ReLU(), nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 3))


def bind(triton: Triton, name: str, module: nn.Module, dtype: type[np.generic], widths: tuple[int, int]) -> None:
    """Serve a module."""

    @batch
    def infer(input: NDArray[np.generic]) -> dict[str, NDArray[np.generic]]:  # noqa: A002 - the tensor's name
        with torch.inference_mode():
            return {"output": module(torch.from_numpy(input)).numpy()}

    call: Callable[..., dict[str, NDArray[np.generic]]] = infer
    triton.bind(
        model_name=name,
        infer_func=call,
        inputs=[Tensor(name="input", dtype=dtype, shape=(widths[0],))],
        outputs=[Tensor(name="output", dtype=dtype, shape=(widths[1],))],
        config=ModelConfig(max_batch_size=64, batcher=DynamicBatcher()),
    )


def main(port: int) -> None:
    """Serve until the process is ended."""
    config = TritonConfig(grpc_port=port, http_port=port + 1, metrics_port=port + 2)
    open_to_all = TritonSecurityConfig(restricted_endpoints=[])
    with Triton(config=config, security_config=open_to_all) as triton:
        bind(triton, "mlp-50-30-20-3", net().eval(), np.float32, (50, 3))
        for dtype in (np.float16, np.float32, np.float64):
            bind(triton, f"identity-{dtype.__name__}", nn.Identity(), dtype, (ANY_WIDTH, ANY_WIDTH))
        triton.serve()


if __name__ == "__main__":
    main(int(sys.argv[1]))
