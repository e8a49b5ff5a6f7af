"""What shape comes out for what shape goes in: torch's own rules, asked once for each shape and remembered."""

from __future__ import annotations

import copy
from functools import lru_cache
from typing import NamedTuple

import torch

from gradserve_server.config import Limits
from gradserve_server.engine.network.mlp import MLP
from gradserve_server.errors import InvalidArgument, ResourceExhausted

Shape = tuple[int, ...]
_REMEMBERED = 4096

LAYERS_TOGETHER = 4
"""How many times the elements that one tensor may have, the outputs of all layers may have together."""


class Passage(NamedTuple):
    """What becomes of an input of some shape.

    Attributes:
        output_shape: The shape of the output.
        elements: Of the outputs of all layers together.
    """

    output_shape: Shape
    elements: int


class Shapes:
    """Answers for one architecture. It runs the layers on torch's meta device, so it costs no memory."""

    def __init__(self, skeleton: MLP, limits: Limits) -> None:
        self._limits = limits
        self._skeletons = {training: copy.deepcopy(skeleton).train(training) for training in (False, True)}
        self.passage = lru_cache(_REMEMBERED)(self._passage)

    def _passage(self, shape: Shape, *, training: bool) -> Passage:
        """What becomes of an input of a shape.

        Raises:
            InvalidArgument: If a layer refuses the shape that reaches it.
            ResourceExhausted: If the input, the output or anything between exceeds the server's limits.
        """
        self._check_size(shape, "the input")
        rows = _rows(shape)
        if rows > self._limits.max_rows:
            message = f"the input has {rows} rows; this server allows {self._limits.max_rows}: send fewer at a time"
            raise ResourceExhausted(message, field="input.shape", reason="TOO_MANY_ROWS")
        value = torch.empty(shape, device="meta")
        kept = 0
        for index, layer in enumerate(self._skeletons[training].layers):
            try:
                with torch.no_grad():
                    value = layer(value)
            except (RuntimeError, ValueError, IndexError) as refusal:
                where = f"layers.{index}, {layer}, refuses an input of shape {list(shape)}"
                message = f"{where}: {str(refusal).splitlines()[0]}"
                raise InvalidArgument(message, field="input.shape", reason="SHAPE_MISMATCH") from refusal
            self._check_size(value.shape, f"the output of layers.{index}")
            # A backward pass needs what each layer has put out.
            if (kept := kept + value.numel()) > LAYERS_TOGETHER * self._limits.max_elements:
                message = f"the outputs of all layers would have more than {LAYERS_TOGETHER} times the elements that "
                raise ResourceExhausted(message + "one may have", field="input.shape", reason="TOO_MANY_ELEMENTS")
        return Passage(tuple(value.shape), kept)

    def _check_size(self, shape: Shape, what: str) -> None:
        elements = torch.Size(shape).numel()
        if elements > self._limits.max_elements:
            message = f"{what} would have {elements} elements; this server allows {self._limits.max_elements}"
            raise ResourceExhausted(message, field="input.shape", reason="TOO_MANY_ELEMENTS")


def _rows(shape: Shape) -> int:
    return torch.Size(shape[:-1]).numel()
