"""Sweeping away what interrupted and replaced writes have left; nothing that the store did not write itself."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from gradserve_server.checkpoints.failures import explanation
from gradserve_server.checkpoints.files import Files
from gradserve_server.checkpoints.names import MANIFEST, is_disposable

_log = logging.getLogger(__name__)


def sweep(files: Files, folder: str, keep: Collection[str]) -> None:
    """Remove the store's files in a model's folder but for those that its manifest, which must be durable, names."""
    with _tolerating(folder):
        unnamed = [name for name in files.names(folder) if is_disposable(name) and name not in keep]
        remove(files, folder, unnamed)


def sweep_staging(files: Files, folder: str) -> None:
    """Remove the folder of a model that was never put in place, nor could be by a power loss."""
    with _tolerating(folder):
        ours = [name for name in files.names(folder) if is_disposable(name) or name == MANIFEST]
        remove(files, folder, ours)
        files.remove_folder(folder)


def remove(files: Files, folder: str, names: Collection[str]) -> None:
    """Remove some files of a model's folder, as far as they are there and that succeeds."""
    for name in names:
        with _tolerating(folder):
            files.remove(folder, name)


@contextmanager
def _tolerating(folder: str) -> Iterator[None]:
    # What cannot be removed does no harm: it takes up room until the folder is opened again.
    try:
        yield
    except FileNotFoundError:
        return
    except OSError as error:
        _log.warning("leftovers stay in %s: %s", folder, explanation(error))
