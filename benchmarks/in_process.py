"""Torch in this process: what a caller without a server would do, on one thread."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch.nn import functional

from benchmarks.nets import Net


def input_gradient(net: Net) -> Callable[[], object]:
    """One row's gradient of cross_entropy by the input."""
    module, x, target = net.module(), net.input(1).requires_grad_(), torch.zeros(1, dtype=torch.int64)
    return lambda: torch.autograd.grad(functional.cross_entropy(module(x), target), x)


def parameter_gradients(net: Net, rows: int) -> Callable[[], object]:
    """The gradients of cross_entropy by every parameter, of so many rows at once."""
    module, x, target = net.module(), net.input(rows), torch.zeros(rows, dtype=torch.int64)
    parameters = list(module.parameters())
    return lambda: torch.autograd.grad(functional.cross_entropy(module(x), target), parameters)


def rate(step: Callable[[], object], seconds: float) -> float:
    """Take a step again and again for so long; return how many were taken each second."""
    torch.set_num_threads(1)
    start = time.perf_counter()
    count = 0
    while (taken := time.perf_counter() - start) < seconds:
        step()
        count += 1
    return count / taken
