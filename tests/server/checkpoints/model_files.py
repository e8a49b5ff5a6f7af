"""The store's file operations on a `model_disk`, with kills, failures and omissions at will."""

from __future__ import annotations

import errno
import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gradserve_server.checkpoints.files import ROOT
from tests.server.checkpoints.model_disk import Change, File, Folder


class Killed(BaseException):
    """The process is gone. Nothing that it would do from here on happens."""


@dataclass(frozen=True)
class Failure:
    """Some calls in a row that fail.

    Attributes:
        call: The first one, counted from now.
        count: How many.
        error: With what.
    """

    call: int
    count: int = 1
    error: int = errno.EIO


class ModelFiles:
    """Implements `Files`.

    Attributes:
        disk: What it works on.
        sync_sites: The places in the store's code that have asked for an fsync.
    """

    def __init__(self, disk: Folder, rng: random.Random, omitted: str = "") -> None:
        """Work on a disk; fsyncs that are asked for at the place `omitted` do nothing."""
        self.disk = disk
        self.sync_sites: set[str] = set()
        self._rng = rng
        self._omitted = omitted
        self._calls = 0
        self._kill_at = 0
        self._failing: dict[int, int] = {}

    def kill(self, call: int) -> None:
        """End the process in the midst of a call, counted from now."""
        self._kill_at = self._calls + call

    def fail(self, failure: Failure | None) -> None:
        """Have some calls fail, or none any more."""
        first = self._calls + failure.call if failure else 0
        self._failing = {first + index: failure.error for index in range(failure.count)} if failure else {}

    def folders(self) -> list[str]:
        with self._calling():
            return [name for name, node in self.disk.names.items() if isinstance(node, Folder)]

    def names(self, folder: str) -> list[str]:
        with self._calling():
            return list(self._folder(folder).names)

    def make_folder(self, folder: str) -> None:
        with self._calling():
            if folder in self.disk.names:
                raise _error(errno.EEXIST)
            self.disk.change(Change(Folder(), come=folder))

    def remove_folder(self, folder: str) -> None:
        with self._calling():
            if self._folder(folder).names:
                raise _error(errno.ENOTEMPTY)
            self.disk.change(Change(self._folder(folder), gone=folder))

    @contextmanager
    def create(self, folder: str, name: str) -> Iterator[ModelSink]:
        file = File()
        with self._calling():
            parent = self._folder(folder)
            if name in parent.names:
                raise _error(errno.EEXIST)
            parent.change(Change(file, come=name))
        yield ModelSink(self, file)
        with self._calling():
            pass

    @contextmanager
    def open(self, folder: str, name: str) -> Iterator[ModelSource]:
        with self._calling():
            file = self._folder(folder).names.get(name)
            if not isinstance(file, File):
                raise _error(errno.ENOENT)
        yield ModelSource(file)

    def rename(self, folder: str, old: str, new: str) -> None:
        with self._calling():
            parent = self._folder(folder)
            if (node := parent.names.get(old)) is None:
                raise _error(errno.ENOENT)
            if isinstance(there := parent.names.get(new), Folder) and there.names:
                raise _error(errno.ENOTEMPTY)
            parent.change(Change(node, gone=old, come=new))

    def remove(self, folder: str, name: str) -> None:
        with self._calling():
            parent = self._folder(folder)
            if (node := parent.names.get(name)) is None:
                raise _error(errno.ENOENT)
            parent.change(Change(node, gone=name))

    def sync_folder(self, folder: str) -> None:
        with self._calling():
            if self.asked_to_sync():
                self._folder(folder).sync()

    def close(self) -> None:
        pass

    def asked_to_sync(self) -> bool:
        """Note where in the store's code an fsync was asked for; whether to do it."""
        frame = sys._getframe(1)
        while frame.f_code.co_filename == __file__ and frame.f_back:
            frame = frame.f_back
        site = f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}:{frame.f_lineno}"
        self.sync_sites.add(site)
        return site != self._omitted

    def write(self, file: File, data: bytes) -> None:
        middle = self._rng.randrange(len(data) + 1)
        for part in (data[:middle], data[middle:]):
            with self._calling():
                file.write(part)

    def sync(self, file: File) -> None:
        assert not file.spoiled, "after a failed fsync another one proves nothing"
        file.spoiled = True
        with self._calling():
            if self.asked_to_sync():
                file.sync()
        file.spoiled = False

    def _folder(self, folder: str) -> Folder:
        if folder == ROOT:
            return self.disk
        if not isinstance(node := self.disk.names.get(folder), Folder):
            raise _error(errno.ENOENT)
        return node

    @contextmanager
    def _calling(self) -> Iterator[None]:
        """One call: it may be cut short by a kill, and fail before or after it has had its effect."""
        self._calls += 1
        if 0 < self._kill_at <= self._calls:
            raise Killed
        error = self._failing.get(self._calls)
        if error and self._rng.random() < 0.5:
            raise _error(error)
        yield
        if error:
            raise _error(error)


class ModelSink:
    """Implements `Sink`."""

    def __init__(self, files: ModelFiles, file: File) -> None:
        self._files = files
        self._file = file

    def write(self, data: bytes | memoryview) -> None:
        self._files.write(self._file, bytes(data))

    def sync(self) -> None:
        self._files.sync(self._file)


class ModelSource:
    """Implements `Source`."""

    def __init__(self, file: File) -> None:
        self._content = file.content

    def chunks(self) -> Iterator[bytes]:
        # Small, so that a reader that stops after the first is found out.
        for start in range(0, len(self._content), 64):
            yield self._content[start : start + 64]


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
