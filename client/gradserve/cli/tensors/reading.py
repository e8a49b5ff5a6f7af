"""Reads one tensor that an argument names, in the dtype and shape that its place asks for."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from gradserve.cli.tensors.casting import cast, is_floating
from gradserve.cli.tensors.csv_table import parse_csv
from gradserve.cli.tensors.json_tensor import parse_json
from gradserve.cli.tensors.npy_file import parse_npy, parse_npz
from gradserve.cli.tensors.source import SourceError, find_source

if TYPE_CHECKING:
    from gradserve.cli.tensors.casting import Array
    from gradserve.cli.tensors.source import Source

__all__ = ["Place", "read_tensor"]

# What torch makes of a list of Python floats.
_DEFAULT_DTYPE: Final = "float32"


class Place(Enum):
    """Where a tensor is used, which decides what text means: text has numbers, but neither dtype nor rank.

    In every place numbers with a fraction are float32, as torch makes them of a list, and a CSV file is a table
    [rows, columns], except as said.
    """

    VALUES = auto()
    """An input, a grad_output, or the target of a loss that compares numbers: whole numbers are float32 too."""
    CLASSES = auto()
    """The target of a loss that takes class ids: whole numbers are int64, and one CSV column of them is [rows]."""
    ARGUMENT = auto()
    """A tensor argument of a loss: as VALUES, but a CSV file of one row or one column is of rank 1."""


def read_tensor(argument: str, place: Place = Place.VALUES, dtype: str | None = None) -> Array:
    """Return the tensor that an argument names (see `find_source`).

    Args:
        argument: As the user typed it.
        place: What the tensor is for.
        dtype: The floating dtype to give it, by torch's name; class ids keep theirs. Default: the file's own, and
            float32 for text.

    Raises:
        SourceError: There is no tensor to be read; the message names the source and says why.
    """
    source = find_source(argument)
    try:
        array, typed = _parse(source)
        if place is Place.CLASSES and not is_floating(array):
            pass
        elif dtype is not None:
            array = cast(array, dtype)
        elif not typed and array.dtype.kind != "b":
            array = cast(array, _DEFAULT_DTYPE)
    except ValueError as error:
        raise SourceError(f"{source.name}: {error}") from None
    return _table_as(place, array) if source.format == "csv" else array


def _parse(source: Source) -> tuple[Array, bool]:
    """Return the array, and whether its dtype is one that the source names."""
    match source.format:
        case "npy":
            return parse_npy(source.data), True
        case "npz":
            return parse_npz(source.data, source.member), True
        case "csv":
            return parse_csv(source.data), False
        case "json":
            return parse_json(source.data)


def _table_as(place: Place, table: Array) -> Array:
    rows, columns = table.shape
    if place is Place.CLASSES and columns == 1 and not is_floating(table):
        return table[:, 0]
    if place is Place.ARGUMENT and 1 in {rows, columns}:
        return table.reshape(-1)
    return table
