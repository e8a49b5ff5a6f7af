"""A gRPC server that computes Forward of one net where each request arrives: no batches, no checks, nothing else.

It takes and gives Gradserve's messages; its argument is the net's name.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc
import torch
from torch.nn import functional

from benchmarks.echo import OPTIONS
from benchmarks.nets import NETS, Net
from gradserve.v1 import inference_pb2, tensor_pb2

FLOAT32 = tensor_pb2.DATA_TYPE_FLOAT32


class Inline:
    """Forward, as short as it can be written with torch."""

    def __init__(self, net: Net) -> None:
        layers = [layer for layer in net.module() if isinstance(layer, torch.nn.Linear)]
        self._weights = [(layer.weight.detach(), layer.bias.detach()) for layer in layers]

    async def forward(
        self, request: inference_pb2.ForwardRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> inference_pb2.ForwardResponse:
        """Compute at once, on the event loop."""
        x = torch.frombuffer(bytearray(request.input.data), dtype=torch.float32).view(list(request.input.shape))
        with torch.inference_mode():
            *hidden, (weight, bias) = self._weights
            for matrix, vector in hidden:
                x = functional.linear(x, matrix, vector).relu_()
            y = functional.linear(x, weight, bias)
        output = tensor_pb2.Tensor(dtype=FLOAT32, shape=y.shape, data=y.numpy().tobytes())
        return inference_pb2.ForwardResponse(output=output, version=1)


async def _serve(net: Net) -> None:
    torch.set_num_threads(1)
    server = grpc.aio.server(options=OPTIONS)
    handler = grpc.unary_unary_rpc_method_handler(
        Inline(net).forward,
        request_deserializer=inference_pb2.ForwardRequest.FromString,
        response_serializer=inference_pb2.ForwardResponse.SerializeToString,
    )
    service = grpc.method_handlers_generic_handler("gradserve.v1.InferenceService", {"Forward": handler})
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"inline listening on 127.0.0.1:{port}, serving {net.name}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve(NETS[sys.argv[1]]))
