"""Reads a table of numbers from CSV."""

from __future__ import annotations

import csv
import io
import warnings
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from gradserve.cli.tensors.casting import Array

__all__ = ["parse_csv"]

_Line: TypeAlias = tuple[int, str]


def parse_csv(data: bytes) -> Array:
    """Return a table [rows, columns] of comma-separated numbers: int64 if all are whole, else float64.

    A first line without any number is a header, and left out; so are blank lines. `nan` and `inf` are numbers.

    Raises:
        ValueError: A cell is not a number, the rows differ in length, or there is none.
    """
    lines = _body(data)
    for dtype in (np.int64, np.float64):
        try:
            with warnings.catch_warnings():
                # numpy before 2.4 takes "1.0" for an int64 with no more than this warning.
                warnings.simplefilter("error", DeprecationWarning)
                return np.loadtxt((line for _, line in lines), dtype, None, ",", ndmin=2, quotechar='"')
        except (ValueError, DeprecationWarning):
            continue
    raise ValueError(_fault(lines))


def _body(data: bytes) -> list[_Line]:
    """Return the lines below the header, with their numbers in the file."""
    try:
        text = io.StringIO(data.decode("utf-8-sig"), newline=None)
    except UnicodeDecodeError:
        raise ValueError("it is not text in UTF-8") from None
    lines = [(number, line) for number, line in enumerate(text, start=1) if line.strip()]
    if lines and not any(map(_is_number, _cells(lines[0][1]))):
        del lines[0]
    if not lines:
        raise ValueError("it holds no numbers")
    return lines


def _fault(lines: list[_Line]) -> str:
    """Say what is wrong with the first line that cannot be read."""
    first, width = lines[0][0], len(_cells(lines[0][1]))
    for number, line in lines:
        cells = _cells(line)
        if len(cells) != width:
            return f"line {number} has {len(cells)} columns, but line {first} has {width}"
        for column, cell in enumerate(cells, start=1):
            if not _is_number(cell):
                return f"line {number}, column {column}: {cell[:40]!r} is not a number"
    return "it is not a table of comma-separated numbers"


def _cells(line: str) -> list[str]:
    try:
        return next(csv.reader([line]), [])
    except csv.Error as error:
        raise ValueError(f"it is not CSV: {error}") from None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    # Python alone reads digits in groups, as in 1_000, and digits of other scripts.
    return cell.isascii() and "_" not in cell
