"""How many entries a page of a list has."""

from __future__ import annotations

from gradserve_server.errors import InvalidArgument

_DEFAULT_PAGE = 50
_LARGEST_PAGE = 1000


def page_size(asked: int) -> int:
    """The entries of a page.

    Raises:
        InvalidArgument: If a negative number was asked for.
    """
    if asked < 0:
        raise InvalidArgument(f"must not be negative, got {asked}", field="page_size")
    return min(asked or _DEFAULT_PAGE, _LARGEST_PAGE)
