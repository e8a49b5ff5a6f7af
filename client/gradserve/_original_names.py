"""The names that layers had before their module was deployed: kept on the server, in a checkpoint's metadata.

They are there as JSON from a layer's name on the server to its name in the module, such as {"layers.0": "fc1"}. JSON
that is longer than one note of a checkpoint may be goes on in the next.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import count, takewhile
from typing import Final, TypeVar

from gradserve._errors import FailedPreconditionError
from gradserve._results import Checkpoint

T = TypeVar("T")

CHECKPOINT: Final = "deployed"
"""The checkpoint that holds the names, and the weights as they were deployed."""

_NOTE: Final = "original_names"
_NOTE_CHARACTERS: Final = 1024


def to_metadata(layers: Mapping[str, str]) -> dict[str, str]:
    """Return the checkpoint's metadata for the layers' original names, by their names on the server."""
    text = json.dumps(layers)
    pieces = [text[start : start + _NOTE_CHARACTERS] for start in range(0, len(text), _NOTE_CHARACTERS)]
    return dict(zip(map(_note, count()), pieces, strict=False))


def from_checkpoints(checkpoints: Iterable[Checkpoint]) -> dict[str, str]:
    """Return the layers' original names, by their names on the server.

    Raises:
        FailedPreconditionError: None of the checkpoints holds them.
    """
    for checkpoint in checkpoints:
        if checkpoint.name == CHECKPOINT and _NOTE in checkpoint.metadata:
            notes = takewhile(checkpoint.metadata.__contains__, map(_note, count()))
            names: dict[str, str] = json.loads("".join(checkpoint.metadata[note] for note in notes))
            return names
    message = f"the original names are not known: there is no checkpoint {CHECKPOINT!r} as gradserve.deploy makes it"
    raise FailedPreconditionError(message, reason="NO_ORIGINAL_NAMES")


def renamed(state: Mapping[str, T], layers: Mapping[str, str]) -> dict[str, T]:
    """Return the state with its layers under other names; keys of other layers stay as they are."""
    return {_rename(key, layers): value for key, value in state.items()}


def _rename(key: str, layers: Mapping[str, str]) -> str:
    layer, _, name = key.rpartition(".")
    if layer not in layers:
        return key
    # A module that is a single layer has no name before the parameter's.
    return f"{layers[layer]}.{name}" if layers[layer] else name


def _note(number: int) -> str:
    return f"{_NOTE}.{number}" if number else _NOTE
