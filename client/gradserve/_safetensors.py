"""safetensors files: written from arrays without joining them, read as arrays that share the file's bytes.

A file is the length of its header (8 bytes, little-endian), the header (JSON, padded with spaces), and the tensors one
after the other. See https://github.com/huggingface/safetensors#format. The safetensors library would hold all tensors
once more in memory, and give arrays that cannot be written to.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import ml_dtypes
import numpy as np
import numpy.typing as npt

from gradserve._arrays import Array, ArrayLike, to_numpy
from gradserve._refusals import invalid, invalid_tensor
from gradserve.codec import MAX_RANK, TensorError

_LENGTH_BYTES: Final = 8
_METADATA: Final = "__metadata__"
_DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "BOOL": np.dtype(np.bool_),
    "U8": np.dtype("<u1"),
    "I8": np.dtype("<i1"),
    "I16": np.dtype("<i2"),
    "I32": np.dtype("<i4"),
    "I64": np.dtype("<i8"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
}
_CODES: Final = {dtype: code for code, dtype in _DTYPES.items()}
# The order of the safetensors library, narrow before wide: what is laid out from the last to the first is aligned.
_RANKS: Final = {
    code: rank for rank, code in enumerate(("BOOL", "U8", "I8", "I16", "F16", "BF16", "I32", "F32", "F64", "I64"))
}
# What torch.save writes: a zip file, and before torch 1.6 a bare pickle.
_PICKLES: Final = (b"PK\x03\x04", b"\x80\x02")


class FormatError(ValueError):
    """Bytes that are not a safetensors file."""


@dataclass(frozen=True)
class Packed:
    """A file that is about to be written.

    Attributes:
        head: All that goes before the tensors.
        arrays: The tensors in the order of their bytes.
    """

    head: bytes
    arrays: tuple[Array, ...]

    @property
    def total_bytes(self) -> int:
        """The size of the file."""
        return len(self.head) + sum(array.nbytes for array in self.arrays)

    def pieces(self) -> Iterator[memoryview]:
        """Give the file's bytes piece by piece, from the arrays' own memory where that is contiguous."""
        yield memoryview(self.head)
        for array in self.arrays:
            yield np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def pack(state_dict: Mapping[str, ArrayLike]) -> Packed:
    """Return the file of a state_dict, laid out as the server lays out its own: such a file it can keep as it is.

    Raises:
        InvalidArgumentError: A name or an array has no place in such a file.
        TypeError: It is not a mapping.
    """
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"state_dict must map names to arrays, or be a path; got {type(state_dict).__name__}")
    arrays = {name: _array(name, value) for name, value in state_dict.items()}
    order = sorted(arrays, key=lambda name: (-_RANKS[_CODES[arrays[name].dtype]], name))
    header: dict[str, Any] = {_METADATA: {"format": "pt"}}
    end = 0
    for name in order:
        array = arrays[name]
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": _CODES[array.dtype], "shape": array.shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH_BYTES)
    return Packed(len(text).to_bytes(_LENGTH_BYTES, "little") + text, tuple(arrays[name] for name in order))


def unpack(content: npt.NDArray[np.uint8]) -> dict[str, Array]:
    """Return a file's tensors by name, in the order of its header; they share its memory.

    Raises:
        FormatError: It is no such file.
    """
    length = _header_length(content[:_LENGTH_BYTES].tobytes(), content.size)
    header = _header(content[_LENGTH_BYTES : _LENGTH_BYTES + length].tobytes())
    data = content[_LENGTH_BYTES + length :]
    return {name: _tensor(name, entry, data) for name, entry in header.items() if name != _METADATA}


def check_head(stream: BinaryIO, total_bytes: int) -> None:
    """Check that a stream begins as such a file does; the server checks the rest. Then go back to its beginning.

    Raises:
        FormatError: It does not.
        OSError: It cannot be read.
    """
    length = _header_length(stream.read(_LENGTH_BYTES), total_bytes)
    _header(stream.read(length))
    stream.seek(0)


def _array(name: object, value: ArrayLike) -> Array:
    if not isinstance(name, str) or name == _METADATA:
        raise invalid("state_dict", f"{name!r} cannot be a key")
    field = f"state_dict[{name}]"
    try:
        array = to_numpy(value)
    except TensorError as error:
        raise invalid_tensor(field, error) from error
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    if array.dtype not in _CODES:
        known = ", ".join(dtype.name for dtype in _CODES)
        raise invalid(f"{field}.dtype", f"{array.dtype} has no form on the wire; use one of {known}", "INVALID_TENSOR")
    if array.ndim > MAX_RANK:
        raise invalid(f"{field}.shape", f"at most {MAX_RANK} dimensions are allowed, got {array.ndim}")
    return array


def _header_length(start: bytes, total_bytes: int) -> int:
    if start.startswith(_PICKLES):
        raise FormatError("it is a file of torch.save, which is never read: save it with safetensors.torch.save_file")
    length = int.from_bytes(start, "little")
    if len(start) < _LENGTH_BYTES or length > total_bytes - _LENGTH_BYTES:
        raise FormatError("it is not a safetensors file, or it is cut short")
    return length


def _header(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"it is not a safetensors file: its header is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise FormatError("it is not a safetensors file: its header is not an object")
    return header


def _tensor(name: str, entry: Any, data: npt.NDArray[np.uint8]) -> Array:  # noqa: ANN401 - not checked yet
    try:
        dtype, shape = _DTYPES[entry["dtype"]], tuple(entry["shape"])
        begin, end = entry["data_offsets"]
        # Slices of numpy would forgive a negative begin, or an end beyond the file.
        array: Array = np.frombuffer(data, dtype, math.prod(shape), begin).reshape(shape)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise FormatError(f"its entry of {name!r} is wrong: {error}") from error
    if begin + array.nbytes != end:
        raise FormatError(f"its entry of {name!r} is wrong: {array.nbytes} bytes cannot lie from {begin} to {end}")
    # Not every program that writes such files aligns what it writes.
    return array if array.flags.aligned else array.copy()
