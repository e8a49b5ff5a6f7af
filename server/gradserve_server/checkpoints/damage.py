"""What is left of a model whose manifest is damaged."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

LEAP = 2**32
"""More versions than any model has had that were not kept: at a thousand a second, those of seven weeks."""

# Of at most 18 digits: so there is room for leaps below the largest version, whatever stands there now.
_IN_TEXT = re.compile(rb'version": ([0-9]{1,18})\b')
_IN_NAME = re.compile(r"([0-9]{1,18})-[0-9a-f]{8}\.safetensors")


@dataclass(frozen=True)
class Damage:
    """A manifest that cannot be read.

    Attributes:
        reason: Why.
        last_version: One that is not below the last version of the model.
    """

    reason: str
    last_version: int


def unused_version(names: Iterable[str], text: bytes) -> int:
    """A version above all that anybody was told of a model.

    What can be read are the versions of files, and those that may still stand in the manifest. Versions of weights that
    were not kept stand nowhere else, so this leaps ahead of what can be read.

    Args:
        names: What lies in the model's folder.
        text: The manifest as it is; empty if it cannot be read at all.
    """
    in_names = [found[1] for found in map(_IN_NAME.fullmatch, names) if found]
    return max(map(int, [*in_names, *_IN_TEXT.findall(text)]), default=0) + LEAP
