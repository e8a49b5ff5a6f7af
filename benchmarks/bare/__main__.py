"""Serve one net: `python -m benchmarks.bare NET [--at-once]`."""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import torch
import uvloop

from benchmarks.bare.batches import AtOnce, Batches, Compute
from benchmarks.bare.net import BareNet
from benchmarks.echo import OPTIONS
from benchmarks.nets import NETS, Net
from gradserve.v1 import inference_pb2

_FEW_PARAMETERS = 16_384


def _handlers(net: BareNet, executor: ThreadPoolExecutor | None, *, at_once: bool) -> grpc.GenericRpcHandler:
    def unary(request: Any, compute: Compute) -> grpc.RpcMethodHandler[Any, Any]:  # noqa: ANN401 - a message's class
        waiting = AtOnce(compute) if at_once else Batches(compute, executor)
        return grpc.unary_unary_rpc_method_handler(waiting.submit, request_deserializer=request.FromString)

    methods = {
        "Forward": unary(inference_pb2.ForwardRequest, net.forward),
        "Gradient": unary(inference_pb2.GradientRequest, net.gradient),
    }
    return grpc.method_handlers_generic_handler("gradserve.v1.InferenceService", methods)


async def _serve(net: Net, *, at_once: bool) -> None:
    torch.set_num_threads(1)
    torch.set_grad_enabled(mode=False)
    small = sum(weight.numel() for weight in net.module().parameters()) <= _FEW_PARAMETERS
    executor = None if small else ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,))
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((_handlers(BareNet(net), executor, at_once=at_once),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"bare listening on 127.0.0.1:{port}, serving {net.name}", flush=True)
    await server.wait_for_termination()


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description="A gRPC server of one net that does nothing else.")
    parser.add_argument("net", choices=NETS)
    parser.add_argument("--at-once", action="store_true", help="compute each request where it arrives")
    options = parser.parse_args()
    uvloop.run(_serve(NETS[options.net], at_once=options.at_once))


if __name__ == "__main__":
    main()
