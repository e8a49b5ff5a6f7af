"""A model's copy in float64, at a point that can be moved, asked through the very paths that answer requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeAlias, TypeVar

import numpy as np
import torch

from gradserve_server.engine import forward
from gradserve_server.engine.gradients import gradient
from gradserve_server.engine.model import Model
from gradserve_server.engine.products import hvp, jvp
from gradserve_server.errors import ServiceError
from gradserve_server.operations.arrays import Array
from gradserve_server.operations.calls import ForwardCall, GradientCall, HvpCall, JvpCall, LossCall
from gradserve_server.operations.results import GradientResult
from gradserve_server.selection import INPUT

Vectors: TypeAlias = Mapping[str, Array]
"""By parameter name, the input's under "input"."""

_ResultT = TypeVar("_ResultT")


def float64_copy(model: Model) -> Model:
    """The model in float64 on the CPU, with memory of its own, all of it to be differentiated by, and large replies."""
    flags = dict.fromkeys(model.parameters, True)
    moved = model.moved(torch.device("cpu"), torch.float64, flags)
    own = moved.with_weights({name: parameter.detach().clone() for name, parameter in moved.parameters.items()})
    return own.unlimited()


class Probe:
    """A number that depends on an input and on parameters: a loss, or the output weighted by a vector.

    What it is asked raises ServiceError where the model, or torch, refuses it.
    """

    def __init__(self, model: Model, x: Array, loss: LossCall | None, weights: Array) -> None:
        """Take the point.

        Args:
            model: One that nobody else has: `moved` writes to its parameters.
            x: The input, in float64.
            loss: None for the output, weighted.
            weights: Of the output's shape.
        """
        self._model = model
        self._x = x
        self._loss = loss
        self._weights = weights

    @property
    def leaves(self) -> dict[str, Array]:
        """Where it is."""
        return {INPUT: self._x} | {name: _array(parameter) for name, parameter in self._model.parameters.items()}

    def value(self) -> tuple[float, float]:
        """The number, and what its rounding errors are relative to: 1, as most activations, and what is summed up."""
        if self._loss is None:
            work = forward.prepare(self._model, ForwardCall(self._x))
            terms = _only(forward.compute(self._model, [work])).output * self._weights
            return float(terms.sum()), 1 + float(np.abs(terms).sum())
        call = GradientCall(self._x, loss=self._loss, wrt=(INPUT,), return_output=True)
        result = self._gradient(call)
        if result.loss is None or result.output is None:
            raise AssertionError("a loss was asked for, and the output")
        return float(result.loss), 1 + abs(float(result.loss)) + float(np.abs(result.output).sum())

    def gradients(self, names: Sequence[str]) -> Vectors:
        """Of the number."""
        weights = self._weights if self._loss is None else None
        return self._gradient(GradientCall(self._x, loss=self._loss, grad_output=weights, wrt=tuple(names))).gradients

    def vjp(self, vector: Array, names: Sequence[str]) -> Vectors:
        """The product of a vector and the output's Jacobian."""
        return self._gradient(GradientCall(self._x, grad_output=vector, wrt=tuple(names))).gradients

    def jvp(self, tangents: Vectors) -> Array:
        """The product of the output's Jacobian and a vector."""
        work = jvp.prepare(self._model, JvpCall(self._x, tangents=tangents))
        return _only(jvp.compute(self._model, [work])).jvp

    def hvp(self, vectors: Vectors) -> Vectors:
        """The product of the number's Hessian and a vector."""
        weights = self._weights if self._loss is None else None
        work = hvp.prepare(self._model, HvpCall(self._x, loss=self._loss, grad_output=weights, vectors=vectors))
        return _only(hvp.compute(self._model, [work])).products

    @contextmanager
    def moved(self, direction: Vectors, step: float) -> Iterator[None]:
        """Be a step further along a direction inside the block."""
        leaves = self.leaves
        before = {name: leaves[name].copy() for name in direction}
        self._place({name: np.asarray(before[name] + step * vector) for name, vector in direction.items()})
        try:
            yield
        finally:
            self._place(before)

    def _place(self, leaves: Vectors) -> None:
        self._x = leaves.get(INPUT, self._x)
        for name, parameter in self._model.parameters.items():
            if name in leaves:
                # The stack holds the same memory.
                _array(parameter)[...] = leaves[name]

    def _gradient(self, call: GradientCall) -> GradientResult:
        return _only(gradient.compute(self._model, [gradient.prepare(self._model, call)]))


def _array(parameter: torch.Tensor) -> Array:
    array: Array = parameter.detach().numpy()
    return array


def _only(results: Sequence[_ResultT | ServiceError]) -> _ResultT:
    (result,) = results
    if isinstance(result, ServiceError):
        raise result
    return result
