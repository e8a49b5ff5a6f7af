"""NAME.gradient: what a model's gradients are called where a call can name only a model."""

from __future__ import annotations

from typing import Final

SUFFIX: Final = ".gradient"
"""No model's own name ends in it."""


def split(name: str) -> tuple[str, bool]:
    """The model's own name, and whether its gradients are meant."""
    return (name.removesuffix(SUFFIX), True) if name.endswith(SUFFIX) else (name, False)
