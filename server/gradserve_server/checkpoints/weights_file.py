"""Reading weights back: all of a file is verified before any of it is used."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from gradserve_server.checkpoints.failures import explanation, is_damage, refusal
from gradserve_server.checkpoints.files import Files, Source
from gradserve_server.checkpoints.manifest import WeightsFile
from gradserve_server.errors import DataLoss


@contextmanager
def verified(files: Files, folder: str, weights: WeightsFile) -> Iterator[Source]:
    """Open a file that has the size and the SHA-256 that its manifest tells.

    Raises:
        DataLoss: If it has not, or is gone.
        Unavailable: If it cannot be read now.
    """
    with ExitStack() as stack:
        try:
            source = stack.enter_context(files.open(folder, weights.file))
            if trouble := _trouble(source, weights):
                raise _damaged(folder, weights, trouble)
        except OSError as error:
            if not is_damage(error):
                raise refusal(f"read {weights.file} of {folder}", error) from error
            raise _damaged(folder, weights, explanation(error)) from error
        yield source


def _damaged(folder: str, weights: WeightsFile, trouble: str) -> DataLoss:
    return DataLoss(f"{weights.file} of {folder} is damaged: {trouble}", reason="WEIGHTS_DAMAGED")


def _trouble(source: Source, weights: WeightsFile) -> str:
    size, digest = 0, hashlib.sha256()
    for chunk in source.chunks():
        size += len(chunk)
        digest.update(chunk)
    if size != weights.size_bytes:
        return f"it has {size} bytes, not {weights.size_bytes}"
    return "" if digest.digest() == weights.sha256 else "its SHA-256 is another"
