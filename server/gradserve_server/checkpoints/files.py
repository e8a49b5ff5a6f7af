"""The file operations that the store is made of: few enough to simulate each way in which they can be cut short."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

ROOT = ""
"""The folder that holds the models' folders."""


class Source(Protocol):
    """A file that is open for reading; it stays readable when it is removed meanwhile."""

    def chunks(self) -> Iterator[bytes]:
        """Its bytes from the first to the last; each call begins anew."""


class Sink(Protocol):
    """A new file that is open for writing."""

    def write(self, data: bytes | memoryview) -> None:
        """Append all of these bytes."""

    def sync(self) -> None:
        """Make the bytes durable; not the file's name. After a failure they may be lost even if it then succeeds."""


class Files(Protocol):
    """One folder, with folders of files in it.

    A name is a single component of a path, and `folder` is such a name or `ROOT`. Links are never followed. All
    methods raise OSError, after which it is not known whether they did anything. Nothing but `Sink.sync` and
    `sync_folder` makes anything durable; `rename` is atomic.
    """

    def folders(self) -> list[str]:
        """The names in the root that are not plain files."""

    def names(self, folder: str) -> list[str]:
        """The names in a folder."""

    def make_folder(self, folder: str) -> None:
        """Make a folder that only its owner can enter."""

    def remove_folder(self, folder: str) -> None:
        """Remove an empty folder."""

    def create(self, folder: str, name: str) -> AbstractContextManager[Sink]:
        """Make a file that only its owner can read; its name must be new."""

    def open(self, folder: str, name: str) -> AbstractContextManager[Source]:
        """Open a plain file for reading."""

    def rename(self, folder: str, old: str, new: str) -> None:
        """Give a file or a folder another name in the same folder, replacing a file that has it."""

    def remove(self, folder: str, name: str) -> None:
        """Remove a file or a link."""

    def sync_folder(self, folder: str) -> None:
        """Make a folder's names durable; not what the files hold."""

    def close(self) -> None:
        """Let another process have the folder."""
