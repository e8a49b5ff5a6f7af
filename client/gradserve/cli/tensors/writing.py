"""Writes tensors into the file that `--output` names."""

from __future__ import annotations

import math
import zipfile
from typing import TYPE_CHECKING, Final

import click
import numpy as np
from numpy.lib import format as npy_format

from gradserve.cli.tensors.casting import is_floating

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from gradserve.cli.tensors.casting import Array

__all__ = ["SUFFIXES", "csv_lines", "write_tensors"]

SUFFIXES: Final = (".npy", ".npz", ".csv", ".json")
"""What `--output` may end with."""

_TABLE_RANK: Final = 2


def write_tensors(path: Path, tensors: Mapping[str, Array], document: Callable[[], str]) -> None:
    """Write tensors in the format that the path's suffix tells: all into .npz, exactly one into .npy and .csv.

    bfloat16 is written as float32, which holds the same numbers: numpy's files cannot name it.

    Args:
        path: Where to; overwritten.
        tensors: The tensors by name.
        document: Makes what .json gets.

    Raises:
        click.UsageError: The format cannot hold them.
        OSError: The file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix == ".json":
        path.write_text(document() + "\n", encoding="utf-8")
    elif suffix == ".npz":
        _write_archive(path, tensors)
    elif len(tensors) != 1:
        raise click.UsageError(
            f"{suffix} holds one tensor, not {len(tensors)} ({', '.join(tensors)}); write .npz or .json"
        )
    else:
        _write_one(path, _nameable(next(iter(tensors.values()))))


def csv_lines(array: Array) -> list[str]:
    """Return an array as comma-separated lines, one for each row of the last dimension.

    Numbers have the fewest digits that give the same number back in the array's dtype. An array of rank 0 is one
    number, one of rank 1 a column.
    """
    array = _nameable(array)
    if array.ndim < _TABLE_RANK:
        return [str(element) for element in array.reshape(-1)]
    rows = array.reshape(math.prod(array.shape[:-1]), array.shape[-1])
    return [",".join(map(str, row)) for row in rows]


def _write_archive(path: Path, tensors: Mapping[str, Array]) -> None:
    # numpy's own savez takes the names as keywords, and some of those as its options.
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in tensors.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                npy_format.write_array(stream, _nameable(array), allow_pickle=False)


def _write_one(path: Path, array: Array) -> None:
    if path.suffix.lower() == ".npy":
        np.save(path, array, allow_pickle=False)
    elif array.ndim > _TABLE_RANK:
        raise click.UsageError(f".csv holds at most two dimensions, not {list(array.shape)}; write .npy, .npz or .json")
    else:
        path.write_text("\n".join([*csv_lines(array), ""]), encoding="utf-8")


def _nameable(array: Array) -> Array:
    return array.astype(np.float32) if is_floating(array) and array.dtype.name == "bfloat16" else array
