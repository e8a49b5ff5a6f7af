"""What stands where in a safetensors file: its head, which is read from anybody, and nothing of its tensors' bytes.

A file is the length N of its header (8 bytes, little-endian), the header (N bytes of JSON, spaces behind it), and the
tensors one after the other. See https://github.com/huggingface/safetensors#format. Every refusal here has the reason
INVALID_SAFETENSORS. More is refused than the safetensors library refuses: what the format's text forbids, what is out
of all proportion, and what none of the wire's tensors could be.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from gradserve_server.errors import InvalidArgument, ResourceExhausted
from gradserve_server.safetensors_header import parse_header, refuse

LENGTH_BYTES: Final = 8
"""The bytes before the header, which tell its length."""

MAX_HEADER_BYTES: Final = 2**20
"""The longest header that is read or written; the format itself allows 100 MB."""

MAX_TENSORS: Final = 10_000
"""The most tensors of a file; a thousand layers have fewer."""

_MAX_RANK: Final = 8
_MAX_BYTES: Final = 2**63 - 1
_METADATA: Final = "__metadata__"
_TENSOR_KEYS: Final = {"dtype", "shape", "data_offsets"}

# Item sizes never fall from one to the next: laid out from the last dtype to the first, every tensor is aligned.
# The order among dtypes of one size is that of the safetensors library, so that the files are the same.
_DTYPES: Final = {
    "BOOL": ("bool", 1),
    "U8": ("uint8", 1),
    "I8": ("int8", 1),
    "I16": ("int16", 2),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "I32": ("int32", 4),
    "F32": ("float32", 4),
    "F64": ("float64", 8),
    "I64": ("int64", 8),
}
_CODES: Final = {name: code for code, (name, _) in _DTYPES.items()}
_RANKS: Final = {name: rank for rank, name in enumerate(_CODES)}

Shape: TypeAlias = tuple[int, ...]
NamedTensor: TypeAlias = tuple[str, str, Shape]
"""The name, dtype and shape of a tensor to write."""


@dataclass(frozen=True)
class TensorEntry:
    """One tensor of a file.

    Attributes:
        name: As in a state_dict.
        dtype: By torch's name, such as "bfloat16"; one of the ten of the wire.
        shape: At most 8 dimensions.
        begin: Where its bytes begin, little-endian and row-major, counted from the end of the file's head.
        end: Where they end: its first byte behind.
    """

    name: str
    dtype: str
    shape: Shape
    begin: int
    end: int


@dataclass(frozen=True)
class Layout:
    """The tensors of a file.

    Attributes:
        entries: In the order of their bytes, which follow one another without a gap.
        metadata: Text by name.
    """

    entries: tuple[TensorEntry, ...]
    metadata: Mapping[str, str]


def head_bytes(start: bytes, total_bytes: int) -> int:
    """The size of a file's head, from its first 8 bytes; a file's first tensor starts there.

    Args:
        start: The file's first 8 bytes or more.
        total_bytes: The size of the file.

    Raises:
        InvalidArgument: If the file is too short, or the header longer than the file or than `MAX_HEADER_BYTES`.
    """
    if min(len(start), total_bytes) < LENGTH_BYTES:
        refuse(f"the file has {min(len(start), total_bytes)} bytes; the length of its header alone takes 8")
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    if length > MAX_HEADER_BYTES:
        if start.startswith((b"PK", b"\x80")):
            refuse("this is a pickle or a zip file, as torch.save writes; it is never read: send safetensors")
        refuse(f"the header would have {length} bytes; at most {MAX_HEADER_BYTES} are read")
    if length > total_bytes - LENGTH_BYTES:
        refuse(f"the header would have {length} bytes, but the whole file has {total_bytes}")
    return LENGTH_BYTES + length


def read_layout(head: bytes, total_bytes: int) -> Layout:
    """The layout of a file that somebody sent.

    Args:
        head: The file's first `head_bytes(head, total_bytes)` bytes.
        total_bytes: The size of the file.

    Raises:
        InvalidArgument: If there is anything wrong with it. No other error is raised, whatever the bytes.
    """
    if len(head) != (expected := head_bytes(head, total_bytes)):
        refuse(f"the head has {len(head)} bytes instead of {expected}")
    header = parse_header(head[LENGTH_BYTES:])
    metadata = _check_metadata(header.pop(_METADATA, {}))
    if len(header) > MAX_TENSORS:
        refuse(f"it has {len(header)} tensors; at most {MAX_TENSORS} are read")
    entries = [_entry(name, entry) for name, entry in header.items()]
    entries.sort(key=lambda entry: (entry.begin, entry.end))
    _check_gapless(entries, total_bytes - len(head))
    return Layout(tuple(entries), metadata)


def file_order(tensors: Iterable[NamedTensor]) -> list[NamedTensor]:
    """The tensors in the order of the safetensors library: by falling item size, then by name.

    In it every tensor begins at a multiple of its item size, so that a reader can map the file into memory.
    """
    return sorted(tensors, key=lambda tensor: (-_RANKS[tensor[1]], tensor[0]))


def write_layout(tensors: Sequence[NamedTensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """The head of a file: all of it before its first tensor.

    Args:
        tensors: The name, the dtype by torch's name, and the shape of each, in the order in which their bytes will
            follow; `file_order` makes it a good one.
        metadata: Text by name, to go with them.

    Raises:
        InvalidArgument: If a tensor has the name of the metadata.
        ResourceExhausted: If there are more tensors, or a longer header, than `read_layout` would read.
    """
    header: dict[str, object] = {_METADATA: dict(metadata)} if metadata else {}
    end = 0
    for name, dtype, shape in tensors:
        if name == _METADATA:
            raise InvalidArgument(f"no tensor may be named {_METADATA}", reason="INVALID_SAFETENSORS")
        code = _CODES[dtype]
        begin, end = end, end + math.prod(shape) * _DTYPES[code][1]
        header[name] = {"dtype": code, "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    length = -(-len(text) // LENGTH_BYTES) * LENGTH_BYTES  # so that the tensors begin aligned
    if length > MAX_HEADER_BYTES or len(tensors) > MAX_TENSORS:
        message = f"{len(tensors)} tensors would take a header of {length} bytes"
        limits = f"at most {MAX_TENSORS} tensors and {MAX_HEADER_BYTES} bytes are allowed"
        raise ResourceExhausted(f"{message}; {limits}", reason="STATE_DICT_TOO_LARGE")
    return length.to_bytes(LENGTH_BYTES, "little") + text.ljust(length)


def _check_metadata(metadata: object) -> dict[str, str]:
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        refuse(f"{_METADATA} must hold text by name, and cannot be a tensor")
    return metadata


def _entry(name: str, entry: object) -> TensorEntry:
    """One tensor's entry, checked by itself."""
    if not isinstance(entry, dict) or entry.keys() != _TENSOR_KEYS:
        refuse(f"{_shown(name)} must have exactly dtype, shape and data_offsets")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(code, str) or code not in _DTYPES:
        refuse(f"{_shown(name)} has an unknown dtype; known are {', '.join(_DTYPES)}")
    if not _are_sizes(shape) or len(shape) > _MAX_RANK:
        refuse(f"the shape of {_shown(name)} must be at most {_MAX_RANK} sizes")
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:  # noqa: PLR2004 - begin, end
        refuse(f"the data_offsets of {_shown(name)} must be a begin and an end, not before it")
    dtype, item_bytes = _DTYPES[code]
    begin, end = offsets
    # Zeros count as one: numpy and torch refuse [0, 2**62, 2**62] although it holds nothing.
    if math.prod(size or 1 for size in shape) * item_bytes > _MAX_BYTES:
        refuse(f"the shape of {_shown(name)} overflows 2^63 bytes")
    if (expected := math.prod(shape) * item_bytes) != end - begin:
        refuse(f"{_shown(name)}, {dtype} of shape {shape}, takes {expected} bytes, not {end - begin}")
    return TensorEntry(name, dtype, tuple(shape), begin, end)


def _are_sizes(value: object) -> bool:
    # A bool is an int to Python, not to JSON.
    return isinstance(value, list) and all(type(size) is int for size in value)


def _check_gapless(entries: Sequence[TensorEntry], data_bytes: int) -> None:
    """Check that the tensors, in the order of their bytes, fill the rest of the file."""
    end = 0
    for entry in entries:
        if entry.begin != end:
            refuse(f"there is {'a hole before' if entry.begin > end else 'an overlap at'} {_shown(entry.name)}")
        end = entry.end
    if end != data_bytes:
        refuse(f"the tensors take {end} bytes, but {data_bytes} follow the header")


def _shown(name: str) -> str:
    return repr(name[:80])
