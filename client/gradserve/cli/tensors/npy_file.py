"""Reads numpy's files, .npy and .npz, without trusting them: no pickle, and nothing allocated on a header's word."""

from __future__ import annotations

import io
import lzma
import math
import tokenize
import warnings
import zipfile
import zlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.lib import format as npy_format

from gradserve.cli.tensors.source import MAX_BYTES

if TYPE_CHECKING:
    from gradserve.cli.tensors.casting import Array

__all__ = ["parse_npy", "parse_npz"]

# Version 3.0 exists for structured arrays with field names outside Latin-1, which no tensor has.
_HEADERS: Final = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}
_SHOWN_MEMBERS: Final = 10


def parse_npy(data: bytes) -> Array:
    """Return the array of a .npy file, in the dtype of the file.

    Raises:
        ValueError: It is not such a file, is truncated, or does not hold plain numbers.
    """
    stream = io.BytesIO(data)
    shape, fortran_order, dtype = _header(stream)
    _check_dtype(dtype)
    expected = math.prod(shape) * dtype.itemsize
    content = data[stream.tell() :]
    if min(shape, default=0) < 0 or len(content) != expected:
        raise ValueError(f"its header says {dtype} of shape {list(shape)}, but {len(content)} bytes follow")
    return np.ndarray(shape, dtype, content, order="F" if fortran_order else "C")


def parse_npz(data: bytes, member: str | None) -> Array:
    """Return one array of a .npz file.

    Args:
        data: The file's content.
        member: The array's name; None where the file holds only one.

    Raises:
        ValueError: It is not such a file, has no such member or several to choose from, or the member is wrong.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            info = _member(archive, member)
            if info.file_size > MAX_BYTES:
                raise ValueError(f"{info.filename} is larger than {MAX_BYTES} bytes")
            with archive.open(info) as stream:
                # A bare read() would inflate all that is there, whatever the directory says of its size.
                content = stream.read(info.file_size)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError) as error:
        raise ValueError(f"it is not a sound .npz file: {error}") from None
    return parse_npy(content)


def _header(stream: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        read_header = _HEADERS[npy_format.read_magic(stream)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about files that Python 2 wrote, which are fine
            return read_header(stream)
    # numpy evaluates the header as a Python literal, and lets through what that may raise.
    except (ValueError, TypeError, KeyError, SyntaxError, tokenize.TokenError, RecursionError, MemoryError):
        raise ValueError(
            "it is not a sound .npy file: its header is malformed, too large or of a later version"
        ) from None


def _check_dtype(dtype: np.dtype[Any]) -> None:
    if dtype.hasobject:
        raise ValueError("it holds pickled Python objects, which are never read")
    if dtype == np.dtype("V2"):
        raise ValueError(
            "it holds two-byte elements of unknown dtype; save bfloat16 as float32, since .npy cannot name it"
        )
    if dtype.kind not in "biuf":
        raise ValueError(f"it holds {dtype}, which is not a dtype of tensors")


def _member(archive: zipfile.ZipFile, member: str | None) -> zipfile.ZipInfo:
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    if member is not None and member in members:
        return members[member]
    if member is None and len(members) == 1:
        return next(iter(members.values()))
    names = ", ".join(list(members)[:_SHOWN_MEMBERS]) + (", ..." if len(members) > _SHOWN_MEMBERS else "")
    if member is None:
        raise ValueError(f"it holds {len(members)} arrays; name one of them, as in x.npz:name ({names})")
    raise ValueError(f"it has no array named {member!r}, but {names or 'none at all'}")
