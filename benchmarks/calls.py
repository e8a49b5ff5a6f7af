"""The calls that are measured: a message, and whether a reply to it is what torch gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from benchmarks.nets import Net
from benchmarks.peers import open_inference
from gradserve import codec
from gradserve.v1 import inference_pb2

_SERVICE = "/gradserve.v1.InferenceService/"
_RELATIVE, _ABSOLUTE = 1e-3, 1e-5


@dataclass(frozen=True)
class Call:
    """One unary call.

    Attributes:
        path: The method.
        message: The request.
        check: Raises a ValueError if a reply is not what torch gives.
    """

    path: str
    message: bytes
    check: Callable[[bytes], None]


def forward(net: Net, rows: int = 1) -> Call:
    """The output for so many rows."""
    x = net.input(rows)
    with torch.no_grad():
        expected = net.module()(x)

    def check(reply: bytes) -> None:
        compare("output", codec.decode(inference_pb2.ForwardResponse.FromString(reply).output), expected)

    request = inference_pb2.ForwardRequest(model=net.name, input=codec.encode(x.numpy()))
    return Call(f"{_SERVICE}Forward", request.SerializeToString(), check)


def model_infer(net: Net, rows: int = 1) -> Call:
    """The output for so many rows, by the Open Inference Protocol."""
    x = net.input(rows)
    with torch.no_grad():
        expected = net.module()(x)

    def check(reply: bytes) -> None:
        compare("output", open_inference.output(reply), expected)

    return Call(open_inference.METHOD, open_inference.request(net.name, x.numpy(), "input"), check)


def input_gradient(net: Net, rows: int = 1) -> Call:
    """The gradient of cross_entropy by the input."""
    x = net.input(rows).requires_grad_()
    loss = functional.cross_entropy(net.module()(x), _classes(rows))
    expected = {"input": torch.autograd.grad(loss, x)[0]}
    return _gradient(net, x.detach(), expected, loss=_cross_entropy(rows), wrt=["input"])


def parameter_gradients(net: Net, rows: int) -> Call:
    """The gradients of cross_entropy by every parameter."""
    x, module = net.input(rows), net.module()
    loss = functional.cross_entropy(module(x), _classes(rows))
    gradients = torch.autograd.grad(loss, list(module.parameters()))
    names = (f"layers.{name}" for name, _ in module.named_parameters())
    return _gradient(net, x, dict(zip(names, gradients, strict=True)), loss=_cross_entropy(rows))


def vector_jacobian_product(net: Net) -> Call:
    """The product of a vector of ones with the Jacobian by the input, for one row."""
    x = net.input(1).requires_grad_()
    expected = {"input": torch.autograd.grad(net.module()(x).sum(), x)[0]}
    vector = codec.encode(np.ones((1, net.out_features), np.float32))
    return _gradient(net, x.detach(), expected, grad_output=vector, wrt=["input"])


def compare(name: str, found: NDArray[np.generic], expected: Tensor) -> None:
    """Raise a ValueError if an array is not a tensor, within the tolerance of float32."""
    array = expected.detach().numpy()
    if found.shape != array.shape or not np.allclose(found, array, _RELATIVE, _ABSOLUTE):
        raise ValueError(f"{name} is not what torch gives: {found} instead of {array}")


def _gradient(net: Net, x: Tensor, expected: Mapping[str, Tensor], **objective: object) -> Call:
    def check(reply: bytes) -> None:
        gradients = inference_pb2.GradientResponse.FromString(reply).gradients
        for name, gradient in expected.items():
            compare(name, codec.decode(gradients[name]), gradient)

    request = inference_pb2.GradientRequest(model=net.name, input=codec.encode(x.numpy()), **objective)  # type: ignore[arg-type]
    return Call(f"{_SERVICE}Gradient", request.SerializeToString(), check)


def _classes(rows: int) -> Tensor:
    return torch.zeros(rows, dtype=torch.int64)


def _cross_entropy(rows: int) -> inference_pb2.Loss:
    return inference_pb2.Loss(name="cross_entropy", target=codec.encode(_classes(rows).numpy()))
