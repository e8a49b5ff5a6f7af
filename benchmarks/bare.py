"""A gRPC server that computes Forward and Gradient of one net in batches and does nothing else.

It is what a server like this one can reach at most: on uvloop, with Gradserve's messages, torch's kernels and batches
of what is just arriving, but without a check, a name, a version, an option, a deadline, a fair queue, a count or an
error. Its argument is the net's name; a Gradient is that of cross_entropy by the input, of one row.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any, TypeAlias

import grpc
import torch
import uvloop
from torch import Tensor
from torch.nn import functional

from benchmarks.echo import OPTIONS
from benchmarks.nets import NETS, Net
from gradserve.v1 import inference_pb2, tensor_pb2

FLOAT32 = tensor_pb2.DATA_TYPE_FLOAT32

_QUIET_TURNS = 16
_MOST = 64
_FEW_PARAMETERS = 16_384

_Rows: TypeAlias = Sequence[Any]
_Compute: TypeAlias = Callable[[_Rows], list[bytes]]


class Batches:
    """Requests that are computed together: where they arrive if the net is small, else on one other thread."""

    def __init__(self, compute: _Compute, executor: ThreadPoolExecutor | None) -> None:
        self._compute = compute
        self._executor = executor
        self._waiting: list[tuple[Any, asyncio.Future[bytes]]] = []
        self._busy = False

    async def submit(self, request: object, _context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        """Have one computed."""
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[bytes] = loop.create_future()
        self._waiting.append((request, reply))
        if not self._busy:
            self._busy = True
            loop.call_soon(self._look_around, 1, 0)
        return await reply

    def _look_around(self, seen: int, quiet_turns: int) -> None:
        count = len(self._waiting)
        quiet_turns = quiet_turns + 1 if count == seen else 0
        if quiet_turns < _QUIET_TURNS and count < _MOST:
            asyncio.get_running_loop().call_soon(self._look_around, count, quiet_turns)
            return
        batch, self._waiting = self._waiting, []
        requests = [request for request, _ in batch]
        if self._executor is None:
            self._answer(batch, self._compute(requests))
        else:
            loop = asyncio.get_running_loop()
            future = self._executor.submit(self._compute, requests)
            future.add_done_callback(lambda done: loop.call_soon_threadsafe(self._answer, batch, done.result()))

    def _answer(self, batch: Sequence[tuple[Any, asyncio.Future[bytes]]], replies: Sequence[bytes]) -> None:
        self._busy = bool(self._waiting)
        if self._busy:
            asyncio.get_running_loop().call_soon(self._look_around, 0, 0)
        for (_, future), reply in zip(batch, replies, strict=True):
            future.set_result(reply)


class Bare:
    """The net, as short as it can be written with torch's kernels."""

    def __init__(self, net: Net) -> None:
        layers = [layer for layer in net.module() if isinstance(layer, torch.nn.Linear)]
        self._weights = [(layer.weight.detach(), layer.bias.detach()) for layer in layers]
        self._forward = _Template(
            inference_pb2.ForwardResponse(output=_zeros(1, net.out_features), version=1), 4 * net.out_features
        )
        gradients = {"input": _zeros(1, net.in_features)}
        self._gradient = _Template(
            inference_pb2.GradientResponse(loss=_zeros(), gradients=gradients, version=1), 4, 4 * net.in_features
        )

    def forward(self, requests: _Rows) -> list[bytes]:
        """Replies to ForwardRequests of one row."""
        values = self._trace(b"".join([request.input.data for request in requests]), len(requests))
        return self._forward.filled(values[-1])

    def gradient(self, requests: _Rows) -> list[bytes]:
        """Replies to GradientRequests of one row."""
        values = self._trace(b"".join([request.input.data for request in requests]), len(requests))
        classes = b"".join([request.loss.target.data for request in requests])
        target = torch.frombuffer(bytearray(classes), dtype=torch.int64)
        logs = torch.log_softmax(values[-1], 1)
        losses = functional.nll_loss(logs, target, reduction="none")
        gradient = logs.exp_().sub_(functional.one_hot(target, logs.size(1)))
        for (weight, _), value in zip(self._weights[:0:-1], values[-2::-1], strict=False):
            gradient = torch.ops.aten.threshold_backward(torch.mm(gradient, weight), value, 0)
        return self._gradient.filled(losses, torch.mm(gradient, self._weights[0][0]))

    def _trace(self, data: bytes, rows: int) -> list[Tensor]:
        values = [torch.frombuffer(bytearray(data), dtype=torch.float32).view(rows, -1)]
        *hidden, (weight, bias) = self._weights
        for matrix, vector in hidden:
            values.append(torch.addmm(vector, values[-1], matrix.t()).relu_())
        return [*values, torch.addmm(bias, values[-1], weight.t())]


class _Template:
    """The bytes of a reply but for those of its tensors."""

    def __init__(self, reply: inference_pb2.ForwardResponse | inference_pb2.GradientResponse, *sizes: int) -> None:
        self._sizes = sizes
        self._parts = []
        data = reply.SerializeToString()
        for size in sizes:
            before, _, data = data.partition(_MARK * size)
            self._parts.append(before)
        self._end = data

    def filled(self, *tensors: Tensor) -> list[bytes]:
        """A reply for each row."""
        data = [tensor.numpy().tobytes() for tensor in tensors]
        rows = range(len(data[0]) // self._sizes[0])
        return [
            b"".join(
                chain.from_iterable(
                    (part, values[row * size : (row + 1) * size])
                    for part, values, size in zip(self._parts, data, self._sizes, strict=True)
                )
            )
            + self._end
            for row in rows
        ]


_MARK = b"\xfe"


def _zeros(*shape: int) -> tensor_pb2.Tensor:
    size = 4
    for length in shape:
        size *= length
    return tensor_pb2.Tensor(dtype=FLOAT32, shape=shape, data=_MARK * size)


async def _serve(net: Net) -> None:
    torch.set_num_threads(1)
    torch.set_grad_enabled(mode=False)
    bare = Bare(net)
    small = sum(weight.numel() for weight in net.module().parameters()) <= _FEW_PARAMETERS
    executor = None if small else ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,))
    handlers = {
        "Forward": _handler(inference_pb2.ForwardRequest, Batches(bare.forward, executor)),
        "Gradient": _handler(inference_pb2.GradientRequest, Batches(bare.gradient, executor)),
    }
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("gradserve.v1.InferenceService", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"bare listening on 127.0.0.1:{port}, serving {net.name}", flush=True)
    await server.wait_for_termination()


def _handler(request: Any, batches: Batches) -> grpc.RpcMethodHandler[Any, Any]:  # noqa: ANN401 - a message's class
    return grpc.unary_unary_rpc_method_handler(batches.submit, request_deserializer=request.FromString)


if __name__ == "__main__":
    uvloop.run(_serve(NETS[sys.argv[1]]))
