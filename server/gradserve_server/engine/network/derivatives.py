"""Derivatives of activations: torch's own kernels, called without the tape that autograd would lay for them."""

from __future__ import annotations

# ruff: noqa: FBT003, SLF001 - these are torch's own signatures, and names that have no public form.
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

Derivative: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
"""The gradient of the input, given that of the output, the input and the output."""

_aten = torch.ops.aten
_elu = _aten.elu_backward.default
_gelu = _aten.gelu_backward.default
_hardsigmoid = _aten.hardsigmoid_backward.default
_hardswish = _aten.hardswish_backward.default
_hardtanh = _aten.hardtanh_backward.default
_leaky_relu = _aten.leaky_relu_backward.default
_mish = _aten.mish_backward.default
_sigmoid = _aten.sigmoid_backward.default
_silu = _aten.silu_backward.default
_softplus = _aten.softplus_backward.default
_tanh = _aten.tanh_backward.default
_threshold = _aten.threshold_backward.default

# selu is elu with these two (Klambauer et al., "Self-Normalizing Neural Networks", 2017).
_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946

DERIVATIVES: Mapping[type[nn.Module], Callable[[Any], Derivative]] = {
    nn.ELU: lambda layer: lambda g, x, _: _elu(g, layer.alpha, 1, 1, False, x),
    nn.GELU: lambda layer: lambda g, x, _: _gelu(g, x, approximate=layer.approximate),
    nn.Hardsigmoid: lambda _: lambda g, x, _: _hardsigmoid(g, x),
    nn.Hardswish: lambda _: lambda g, x, _: _hardswish(g, x),
    nn.Hardtanh: lambda layer: lambda g, x, _: _hardtanh(g, x, layer.min_val, layer.max_val),
    nn.Identity: lambda _: lambda g, _x, _y: g,
    nn.LeakyReLU: lambda layer: lambda g, x, _: _leaky_relu(g, x, layer.negative_slope, False),
    nn.LogSoftmax: lambda _: lambda g, _, y: torch._log_softmax_backward_data(g, y, -1, y.dtype),
    nn.Mish: lambda _: lambda g, x, _: _mish(g, x),
    nn.ReLU: lambda _: lambda g, _, y: _threshold(g, y, 0),
    nn.ReLU6: lambda _: lambda g, x, _: _hardtanh(g, x, 0, 6),
    nn.SELU: lambda _: lambda g, x, _: _elu(g, _SELU_ALPHA, _SELU_SCALE, 1, False, x),
    nn.SiLU: lambda _: lambda g, x, _: _silu(g, x),
    nn.Sigmoid: lambda _: lambda g, _, y: _sigmoid(g, y),
    nn.Softmax: lambda _: lambda g, _, y: torch._softmax_backward_data(g, y, -1, y.dtype),
    nn.Softplus: lambda layer: lambda g, x, _: _softplus(g, x, layer.beta, layer.threshold),
    nn.Tanh: lambda _: lambda g, _, y: _tanh(g, y),
    nn.Threshold: lambda layer: lambda g, x, _: _threshold(g, x, layer.threshold),
}
"""By the activation's class; each takes the layer for its arguments."""

IN_PLACE: Mapping[type[nn.Module], Callable[[Tensor], Tensor]] = {
    nn.ReLU: torch.relu_,
    nn.Sigmoid: torch.sigmoid_,
    nn.Tanh: torch.tanh_,
}
"""The activations that may overwrite their input, as their derivatives do without it."""
