"""A net, in the words of Tesseract: which one says the variable NET."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from pydantic import BaseModel
from tesseract_core.runtime import Array, Differentiable, Float32, ShapeDType

from benchmarks.nets import NETS
from benchmarks.peers.servers.net_on_one_thread import NetOnOneThread

_NET = NetOnOneThread(NETS[os.environ["NET"]])


class InputSchema(BaseModel):
    """One row."""

    x: Differentiable[Array[(1, None), Float32]]


class OutputSchema(BaseModel):
    """Its output."""

    y: Differentiable[Array[(1, None), Float32]]


def apply(inputs: InputSchema) -> OutputSchema:
    """Compute the output."""
    return OutputSchema(y=_NET.forward(inputs.x))


def vector_jacobian_product(
    inputs: InputSchema,
    vjp_inputs: set[str],
    vjp_outputs: set[str],
    cotangent_vector: dict[str, Any],
) -> dict[str, Any]:
    """Compute the vector-Jacobian product by the input."""
    vector = np.asarray(cotangent_vector["y"], np.float32)
    return {"x": _NET.vector_jacobian_product(np.array(inputs.x), vector)}


def abstract_eval(abstract_inputs: Any) -> dict[str, ShapeDType]:
    """Tell the output's shape."""
    rows = abstract_inputs.x.shape[0]
    return {"y": ShapeDType(shape=(rows, _NET.net.out_features), dtype="float32")}
