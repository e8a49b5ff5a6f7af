"""The store's file operations on a real disk."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gradserve_server.checkpoints.files import ROOT
from gradserve_server.errors import FailedPrecondition

_LOCK = ".lock"
_CHUNK_BYTES = 1024**2
_FILE_MODE, _FOLDER_MODE = 0o600, 0o700
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
# O_NONBLOCK, so that a named pipe in a file's place is refused instead of waited for.
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_CREATE_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


class DiskSource:
    """A file that is open for reading."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def chunks(self) -> Iterator[bytes]:
        """Its bytes, 1 MiB at a time."""
        offset = 0
        while chunk := os.pread(self._descriptor, _CHUNK_BYTES, offset):
            offset += len(chunk)
            yield chunk


class DiskSink:
    """A new file that is open for writing."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes | memoryview) -> None:
        """Append all of these bytes."""
        rest = memoryview(data).cast("B")
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def sync(self) -> None:
        """Make the bytes durable."""
        _sync(self._descriptor)


class DiskFiles:
    """A folder that one process has for itself. Every path is opened below its descriptor, one component at a time."""

    def __init__(self, root: int, lock: int) -> None:
        self._root = root
        self._lock = lock

    @classmethod
    def locked(cls, path: Path) -> DiskFiles:
        """Take a folder, which is made if it is not there. The lock ends with the process, however that ends.

        Raises:
            FailedPrecondition: If another server has it.
            OSError: If it cannot be made, opened or locked.
        """
        _make_folders(path.absolute())
        root = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return cls(root, _lock(root, path))
        except BaseException:
            os.close(root)
            raise

    def folders(self) -> list[str]:
        """The names in the root that are not plain files."""
        with os.scandir(self._root) as entries:
            return sorted(entry.name for entry in entries if not entry.is_file(follow_symlinks=False))

    def names(self, folder: str) -> list[str]:
        """The names in a folder."""
        with self._opened(folder) as descriptor, os.scandir(descriptor) as entries:
            return sorted(entry.name for entry in entries)

    def make_folder(self, folder: str) -> None:
        """Make a folder that only its owner can enter."""
        os.mkdir(folder, _FOLDER_MODE, dir_fd=self._root)

    def remove_folder(self, folder: str) -> None:
        """Remove an empty folder."""
        os.rmdir(folder, dir_fd=self._root)

    @contextmanager
    def create(self, folder: str, name: str) -> Iterator[DiskSink]:
        """Make a file that only its owner can read."""
        with self._opened(folder) as parent:
            descriptor = os.open(name, _CREATE_FILE, _FILE_MODE, dir_fd=parent)
        with _closing(descriptor):
            yield DiskSink(descriptor)

    @contextmanager
    def open(self, folder: str, name: str) -> Iterator[DiskSource]:
        """Open a plain file for reading."""
        with self._opened(folder) as parent:
            descriptor = os.open(name, _OPEN_FILE, dir_fd=parent)
        with _closing(descriptor):
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "it is not a plain file", name)
            yield DiskSource(descriptor)

    def rename(self, folder: str, old: str, new: str) -> None:
        """Give a file or a folder another name in the same folder."""
        with self._opened(folder) as descriptor:
            os.rename(old, new, src_dir_fd=descriptor, dst_dir_fd=descriptor)

    def remove(self, folder: str, name: str) -> None:
        """Remove a file or a link."""
        with self._opened(folder) as descriptor:
            os.unlink(name, dir_fd=descriptor)

    def sync_folder(self, folder: str) -> None:
        """Make a folder's names durable."""
        with self._opened(folder) as descriptor:
            _sync(descriptor)

    def close(self) -> None:
        """Let another process have the folder."""
        os.close(self._lock)
        os.close(self._root)

    @contextmanager
    def _opened(self, folder: str) -> Iterator[int]:
        if folder == ROOT:
            yield self._root
            return
        descriptor = os.open(folder, _OPEN_FOLDER, dir_fd=self._root)
        with _closing(descriptor):
            yield descriptor


@contextmanager
def _closing(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)


def _make_folders(path: Path) -> None:
    if path.exists():
        return
    _make_folders(path.parent)
    path.mkdir(_FOLDER_MODE, exist_ok=True)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    with _closing(descriptor):
        _sync(descriptor)


def _lock(root: int, path: Path) -> int:
    descriptor = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, _FILE_MODE, dir_fd=root)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as taken:
        os.close(descriptor)
        raise FailedPrecondition(f"another server uses {path}", reason="DATA_DIR_IN_USE") from taken
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _sync(descriptor: int) -> None:
    # On macOS fsync leaves the data in the drive's cache. Not every file system there has the call that does not.
    if hasattr(fcntl, "F_FULLFSYNC"):
        try:
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        except OSError as error:
            if error.errno not in {errno.ENOTTY, errno.EINVAL, errno.ENOTSUP}:
                raise
        else:
            return
    os.fsync(descriptor)
