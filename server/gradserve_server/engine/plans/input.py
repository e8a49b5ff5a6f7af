"""What a model makes of an input of some dtype and shape, before its values are looked at."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from gradserve_server.engine.network.mlp import Blueprint
from gradserve_server.engine.network.shapes import Shape, Shapes
from gradserve_server.engine.tensors import torch_dtype
from gradserve_server.errors import InvalidArgument
from gradserve_server.operations.arrays import FLOATING

_REMEMBERED = 1024


@dataclass(frozen=True)
class InputPlan:
    """How inputs of one dtype and shape are computed.

    Attributes:
        row: The shape of one row, where the rows of several inputs can be joined to one tensor [N, *row]; empty where
            the input must be computed alone and as it is.
        count: How many of these rows it has.
        rows: The product of its dimensions but the last.
        cost: About how many multiply-adds a forward takes.
        output_shape: The shape of the output.
        elements: Of the outputs of all layers together.
        reshaped: Whether the input has another shape than [count, *row].
        dtype: The input's.
    """

    row: Shape
    count: int
    rows: int
    cost: int
    output_shape: Shape
    elements: int
    reshaped: bool
    dtype: torch.dtype


class InputPlans:
    """The plans of one architecture, remembered. It holds no weights."""

    def __init__(self, blueprint: Blueprint, shapes: Shapes) -> None:
        self._blueprint = blueprint
        self._shapes = shapes
        self._parameters = sum(parameter.numel() for parameter in blueprint.skeleton.parameters())
        self.plan = lru_cache(_REMEMBERED)(self._plan)

    def _plan(self, dtype: np.dtype[Any], shape: Shape, training: bool, deterministic: bool) -> InputPlan:  # noqa: FBT001
        """The plan of an input in a call with these options.

        Raises:
            InvalidArgument: If it is not floating or a layer refuses its shape.
            ResourceExhausted: If it is beyond a limit.
        """
        if dtype.name not in FLOATING:
            message = f"must be floating, got {dtype}: cast it, as torch would have you"
            raise InvalidArgument(message, field="input.dtype")
        passage = self._shapes.passage(shape, training=training)
        random = training and self._blueprint.random
        alone = random or deterministic or self._blueprint.mixes_rows(training=training) or 0 in shape
        row = () if alone else self._blueprint.row_shape(shape)
        rows = math.prod(shape[:-1])
        count = math.prod(shape) // math.prod(row)
        reshaped = shape != (count, *row)
        return InputPlan(row, count, rows, rows * self._parameters, *passage, reshaped, torch_dtype(dtype))
