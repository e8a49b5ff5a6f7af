"""Pages with tensors: outputs and gradients."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, SupportsFloat

import numpy as np
from rich.console import Group
from rich.text import Text

from gradserve.cli.pages.page import screen_table
from gradserve.cli.tensors.json_tensor import tensor_document
from gradserve.cli.tensors.writing import csv_lines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

    from gradserve.cli.tensors.casting import Array

__all__ = ["GradientsPage", "OutputPage", "WrittenPage"]

_GRADIENTS: Final = ("tensor", "shape", "dtype", "norm", "values")
_SHOWN_ROWS: Final = 20
_SHOWN_VALUES: Final = 4
_COLUMN_GAP: Final = 2
_DIGITS: Final = 5


@dataclass(frozen=True)
class OutputPage:
    """What Forward computes.

    Attributes:
        model: The model's name.
        output: Of shape [..., out_features].
    """

    model: str
    output: Array

    def document(self) -> dict[str, Any]:
        """Return the model's name and the output."""
        return {"model": self.model, "output": tensor_document(self.output)}

    def plain(self) -> str:
        """Return the output as CSV, one line for each row of the last dimension."""
        return "\n".join(csv_lines(self.output))

    def screen(self, width: int) -> RenderableType:
        """Return the first rows and columns in a table, with each row's index."""
        title = Text(f"{self.model}: output {_kind(self.output)}", style="bold")
        if not self.output.size:
            return title
        leading = self.output.shape[:-1]
        rows = self.output.reshape(math.prod(leading), -1)
        cells = [(_index(number, leading), *map(_short, row[:width])) for number, row in enumerate(rows[:_SHOWN_ROWS])]
        header = ["row", *map(str, range(len(cells[0]) - 1))]
        columns = header[1 : _fitting([header, *cells], width) + 1]
        table = screen_table(("row", *columns), [line[: len(columns) + 1] for line in cells], numbers=columns)
        if rows.shape == (len(cells), len(columns)):
            return Group(title, table)
        return Group(title, table, Text("the rest is left out: see it with -o FILE, --json or in a pipe", style="dim"))


@dataclass(frozen=True)
class GradientsPage:
    """What Gradient computes.

    Attributes:
        model: The model's name.
        loss: The loss; None where only a grad_output was given.
        output: The output; None unless asked for.
        gradients: By name, in the order of `named_parameters()`.
        version: The version of the weights that computed them.
        seed: What random layers drew from; None where nothing was random.
    """

    model: str
    loss: Array | None
    output: Array | None
    gradients: Mapping[str, Array]
    version: int
    seed: int | None

    def tensors(self) -> dict[str, Array]:
        """Return loss and output, where there are, and the gradients, by name."""
        others = {"loss": self.loss, "output": self.output}
        return {name: array for name, array in {**others, **self.gradients}.items() if array is not None}

    def document(self) -> dict[str, Any]:
        """Return all of it; what was not asked for is null."""
        return {
            "model": self.model,
            "version": self.version,
            "seed": self.seed,
            "loss": None if self.loss is None else tensor_document(self.loss),
            "output": None if self.output is None else tensor_document(self.output),
            "gradients": {name: tensor_document(array) for name, array in self.gradients.items()},
        }

    def plain(self) -> str:
        """Return each tensor as a line `# name dtype [shape]` and its values in CSV."""
        return "\n".join(
            line for name, array in self.tensors().items() for line in (f"# {name} {_kind(array)}", *csv_lines(array))
        )

    def screen(self, _width: int) -> RenderableType:
        """Return a table with each tensor's norm and first values."""
        rows = [
            (name, list(array.shape), array.dtype.name, _short(_norm(array)), _first(array))
            for name, array in self.tensors().items()
        ]
        seed = "" if self.seed is None else f", seed {self.seed}"
        title = Text(f"{self.model}: version {self.version}{seed}", style="bold")
        return Group(title, screen_table(_GRADIENTS, rows, numbers=("norm",)))


@dataclass(frozen=True)
class WrittenPage:
    """Tensors that went into a file.

    Attributes:
        path: The file.
        tensors: What it holds, by name.
    """

    path: str
    tensors: Mapping[str, Array]

    def document(self) -> dict[str, Any]:
        """Return the path, and each tensor's dtype and shape; a scalar whole, so that the loss is seen."""
        return {"written": self.path, "tensors": {name: _summary(array) for name, array in self.tensors.items()}}

    def plain(self) -> str:
        """Return a line for each tensor, with the value of a scalar."""
        return "\n".join(
            f"{self.path}: {name} {_kind(array)}{f' = {array}' if array.ndim == 0 else ''}"
            for name, array in self.tensors.items()
        )

    def screen(self, _width: int) -> RenderableType:
        """Return the same."""
        return Text(self.plain())


def _summary(array: Array) -> dict[str, Any]:
    return tensor_document(array) if array.ndim == 0 else {"dtype": array.dtype.name, "shape": list(array.shape)}


def _kind(array: Array) -> str:
    return f"{array.dtype.name} {list(array.shape)}"


def _index(number: int, shape: tuple[int, ...]) -> str:
    return ",".join(str(place) for place in np.unravel_index(number, shape)) if shape else ""


def _short(value: SupportsFloat) -> str:
    return f"{float(value):.{_DIGITS}g}"


def _norm(array: Array) -> float:
    return float(np.linalg.norm(array.astype(np.float64)))


def _first(array: Array) -> str:
    values = ", ".join(map(_short, array.reshape(-1)[:_SHOWN_VALUES]))
    return values + ", ..." if array.size > _SHOWN_VALUES else values


def _fitting(cells: Sequence[Sequence[str]], width: int) -> int:
    """Return how many columns, after that of the index, fit into the width; at least one."""
    widths = [max(map(len, column)) + _COLUMN_GAP for column in zip(*cells, strict=True)]
    ends = itertools.accumulate(widths)
    return max(1, sum(end <= width for end in ends) - 1)
