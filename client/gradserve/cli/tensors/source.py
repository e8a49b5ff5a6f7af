"""Where a tensor on the command line comes from: a file, a member of an archive, standard input, or the argument.

This finds the bytes and tells their format. What they mean is for its siblings.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Literal, TypeAlias

import click

from gradserve.cli.exit_code import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MAX_BYTES", "STDIN", "Format", "Source", "SourceError", "check_stdin", "find_source"]

Format: TypeAlias = Literal["npy", "npz", "csv", "json"]

MAX_BYTES: Final = 2**31
"""The most bytes that are read: protobuf carries no message of this size, so that nothing larger could be sent."""

STDIN: Final = "-"
"""The argument that stands for standard input."""

_CHUNK_BYTES: Final = 2**20
_SUFFIXES: Final[dict[str, Format]] = {".npy": "npy", ".npz": "npz", ".csv": "csv", ".json": "json"}
_MAGIC: Final[dict[bytes, Format]] = {b"\x93NUMPY": "npy", b"PK\x03\x04": "npz", b"PK\x05\x06": "npz"}
_MEMBER: Final = re.compile(r"(?P<path>-|.+\.npz):(?P<member>.+)", re.DOTALL)
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)


class SourceError(click.ClickException):
    """What an argument names cannot be read as what it should be. Nothing is sent."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True)
class Source:
    """The bytes of one tensor, before they are read as one.

    Attributes:
        name: What an error calls it.
        format: How to read it.
        data: The whole content.
        member: The array to take from an archive; None for its only one.
    """

    name: str
    format: Format
    data: bytes
    member: str | None = None


def find_source(argument: str) -> Source:
    """Return the content that an argument stands for.

    An argument that starts with `[` or `{`, or that is a number, is JSON itself; a file with such a name is `./[x`.
    `-` is standard input. `x.npz:key`, and `-:key`, name one array of an archive. The suffix of a file tells its
    format; without a known one, and on standard input, the content does: numpy's and zip's magic bytes, then `[` or
    `{` for JSON, else it is CSV.

    Raises:
        SourceError: The file cannot be read, is empty, or is larger than MAX_BYTES.
    """
    if argument.lstrip()[:1] in {"[", "{"} or _NUMBER.fullmatch(argument):
        return Source("inline JSON", "json", argument.encode(errors="surrogateescape"))
    path, member = _split_member(argument)
    name = "standard input" if path == STDIN else path
    try:
        data = _read_stdin() if path == STDIN else _read_file(Path(path))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise SourceError(f"cannot read {name}: {reason or error}") from None
    if not data.strip():
        raise SourceError(f"{name} is empty")
    return Source(name, _SUFFIXES.get(Path(path).suffix.lower()) or _sniff(data), data, member)


def check_stdin(arguments: Sequence[str]) -> None:
    """Check that at most one argument stands for standard input, which can be read only once.

    Raises:
        click.UsageError: Two or more do.
    """
    if sum(_split_member(argument)[0] == STDIN for argument in arguments) > 1:
        raise click.UsageError("only one tensor can come from standard input")


def _split_member(argument: str) -> tuple[str, str | None]:
    match = _MEMBER.fullmatch(argument)
    return (match["path"], match["member"]) if match else (argument, None)


def _read_file(path: Path) -> bytes:
    with path.open("rb") as stream:
        return _read(stream)


def _read_stdin() -> bytes:
    if sys.stdin is None:
        raise ValueError("it is closed")
    return _read(sys.stdin.buffer)


def _read(stream: BinaryIO) -> bytes:
    data = bytearray()
    while chunk := stream.read(_CHUNK_BYTES):
        data += chunk
        if len(data) > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES} bytes")
    return bytes(data)


def _sniff(data: bytes) -> Format:
    for magic, form in _MAGIC.items():
        if data.startswith(magic):
            return form
    return "json" if data.lstrip()[:1] in {b"[", b"{"} else "csv"
