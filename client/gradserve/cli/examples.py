"""Examples below a command's help."""

from __future__ import annotations

__all__ = ["examples"]


def examples(*lines: str) -> str:
    """Return an epilog with one example in each line."""
    # Click leaves the lines of a paragraph alone that starts with this character.
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])
