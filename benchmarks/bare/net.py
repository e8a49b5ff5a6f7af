"""One net, as short as it can be written with torch's kernels: the bytes of requests in, the bytes of replies out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.nets import Net
from gradserve.v1 import inference_pb2, tensor_pb2

FLOAT32 = tensor_pb2.DATA_TYPE_FLOAT32

Rows: TypeAlias = Sequence[Any]
"""Requests of one row each."""


class BareNet:
    """Computes requests together."""

    def __init__(self, net: Net) -> None:
        layers = [layer for layer in net.module() if isinstance(layer, torch.nn.Linear)]
        self._weights = [(layer.weight.detach(), layer.bias.detach()) for layer in layers]
        self._forward = _Template(
            inference_pb2.ForwardResponse(output=_zeros(1, net.out_features), version=1), 4 * net.out_features
        )
        size, gradients = 4 * net.in_features, {"input": _zeros(1, net.in_features)}
        of_loss = inference_pb2.GradientResponse(loss=_zeros(), gradients=gradients, version=1)
        self._of_loss = _Template(of_loss, 4, size)
        self._product = _Template(inference_pb2.GradientResponse(gradients=gradients, version=1), size)

    def forward(self, requests: Rows) -> list[bytes]:
        """Replies to ForwardRequests of one row."""
        values = self._trace(b"".join([request.input.data for request in requests]), len(requests))
        return self._forward.filled(values[-1])

    def gradient(self, requests: Rows) -> list[bytes]:
        """Replies to GradientRequests of one row, all with a loss or none."""
        values = self._trace(b"".join([request.input.data for request in requests]), len(requests))
        if requests[0].HasField("grad_output"):
            vectors = b"".join([request.grad_output.data for request in requests])
            vector = torch.frombuffer(bytearray(vectors), dtype=torch.float32).view(len(requests), -1)
            return self._product.filled(self._back(values, vector))
        classes = b"".join([request.loss.target.data for request in requests])
        target = torch.frombuffer(bytearray(classes), dtype=torch.int64)
        logs = torch.log_softmax(values[-1], 1)
        losses = functional.nll_loss(logs, target, reduction="none")
        gradient = logs.exp_().sub_(functional.one_hot(target, logs.size(1)))
        return self._of_loss.filled(losses, self._back(values, gradient))

    def _back(self, values: Sequence[Tensor], gradient: Tensor) -> Tensor:
        for (weight, _), value in zip(self._weights[:0:-1], values[-2::-1], strict=False):
            gradient = torch.ops.aten.threshold_backward(torch.mm(gradient, weight), value, 0)
        return torch.mm(gradient, self._weights[0][0])

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
