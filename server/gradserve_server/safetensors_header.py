"""The header of a safetensors file as JSON, read from anybody: strictly, in linear time, and never too deep."""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

from gradserve_server.errors import InvalidArgument

_MAX_NUMBER: Final = 2**63 - 1
_MAX_DIGITS: Final = len(str(_MAX_NUMBER))

# A string, closed or not, or whatever else is no bracket. It never gives back what it has matched, so it is linear.
_NO_BRACKETS: Final = re.compile(rb'"(?:[^"\\]++|\\.?)*+"?|[^"\[\]{}]++', re.DOTALL)
_DEPTH: Final = 3


def parse_header(text: bytes) -> dict[str, Any]:
    """The header's object: its numbers are sizes, no name stands twice, and every string is Unicode.

    Args:
        text: The header, with the spaces behind it; the time is linear in its length.

    Raises:
        InvalidArgument: If it is anything else. No other error is raised, whatever the bytes.
    """
    if not text.startswith(b"{"):
        refuse("the header must start with {")
    _check_depth(text)
    decoder = json.JSONDecoder(
        object_pairs_hook=_unique, parse_int=_size, parse_float=_refuse_number, parse_constant=_refuse_number
    )
    try:
        header: dict[str, Any] = decoder.decode(str(text, "utf-8"))
    except UnicodeDecodeError:
        refuse("the header is not UTF-8")
    except json.JSONDecodeError as error:
        refuse(f"the header is not JSON: {error}")
    return header


def refuse(message: str) -> NoReturn:
    """Refuse the file that came in chunks.

    Raises:
        InvalidArgument: Always.
    """
    raise InvalidArgument(message, field="chunk", reason="INVALID_SAFETENSORS")


def _check_depth(text: bytes) -> None:
    """Check that the brackets pair, and not too deep: the parser's depth is bounded by the stack of its thread."""
    brackets = _NO_BRACKETS.sub(b"", text)
    for _ in range(_DEPTH):
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    if brackets:
        refuse("the header's brackets do not close, or are nested too deep")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        refuse("the header has the same name twice")
    for name, value in pairs:
        for text in (name, value):
            # JSON can escape half of a surrogate pair, which no UTF-8 can hold.
            if isinstance(text, str) and not _is_text(text):
                refuse("the header has a string that is not Unicode")
    return found


def _is_text(string: str) -> bool:
    try:
        string.encode()
    except UnicodeEncodeError:
        return False
    return True


def _size(digits: str) -> int:
    # The length first: turning very many digits into a number takes long.
    if digits.startswith("-"):
        refuse("the header has a negative number")
    if len(digits) > _MAX_DIGITS or (size := int(digits)) > _MAX_NUMBER:
        refuse("the header has a number above 2^63 - 1")
    return size


def _refuse_number(text: str) -> NoReturn:
    refuse(f"the header has a number that is no size: {text[:40]}")
