"""Files that are read again when they have changed."""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from gradserve_server.config import ConfigError

T = TypeVar("T")

_SECONDS_BETWEEN_LOOKS = 1.0
_LARGEST_FILE = 4 * 1024**2

_log = logging.getLogger(__name__)


class Content(NamedTuple):
    """What was in a file.

    Attributes:
        data: Its bytes.
        exposed: Whether the file should be private, and every user of this machine can read it.
    """

    data: bytes
    exposed: bool


class WatchedFile(NamedTuple):
    """A file that a setting names.

    Attributes:
        setting: Its dotted name.
        path: Where the file is.
        private: Whether nobody else should read it.
    """

    setting: str
    path: str
    private: bool = False

    def read(self) -> Content:
        """What is in it now.

        Raises:
            ConfigError: It cannot be read, is too large, or could be written by anybody.
        """
        try:
            with open(self.path, "rb", opener=_without_waiting) as file:
                mode = os.fstat(file.fileno()).st_mode
                data = file.read(_LARGEST_FILE + 1)
        except OSError as error:
            raise self.error(error.strerror or "cannot be read") from None
        if mode & stat.S_IWOTH:
            raise self.error("can be written by every user of this machine; chmod o-w takes that away")
        if len(data) > _LARGEST_FILE:
            raise self.error(f"has more than {_LARGEST_FILE} bytes")
        return Content(data, exposed=self.private and bool(mode & stat.S_IROTH))

    def error(self, message: str) -> ConfigError:
        """What is wrong with it, in the words of a refused setting."""
        return ConfigError(f"{self.setting}: {self.path}: {message}")


class Watched(Generic[T]):
    """What some files say. They are looked at when somebody asks, and at most once a second.

    A change that cannot be used is logged, and what the files said before stays in force. Any thread may ask.
    """

    def __init__(self, files: Sequence[WatchedFile], parse: Callable[[Sequence[bytes]], T]) -> None:
        """Read them.

        Args:
            files: The files.
            parse: Makes of their contents, in the same order, what they say; raises ConfigError.

        Raises:
            ConfigError: They cannot be used.
        """
        self._files = files
        self._parse = parse
        self._lock = threading.Lock()
        self._complaint = ""
        self._take(self._read())
        self._next_look = time.monotonic() + _SECONDS_BETWEEN_LOOKS

    @property
    def value(self) -> T:
        """What they say now."""
        if time.monotonic() >= self._next_look:
            self.look()
        return self._value

    def look(self) -> None:
        """Look at the files at once."""
        with self._lock:
            self._next_look = time.monotonic() + _SECONDS_BETWEEN_LOOKS
            try:
                contents = self._read()
                if contents != self._contents:
                    self._take(contents)
                    _log.info("%s: read again", ", ".join(file.setting for file in self._files))
                self._complaint = ""
            except ConfigError as error:
                # Said once, not at every look.
                if str(error) != self._complaint:
                    self._complaint = str(error)
                    _log.error("%s; what was read before stays in force", error)

    def _read(self) -> list[Content]:
        return [file.read() for file in self._files]

    def _take(self, contents: list[Content]) -> None:
        self._value = self._parse([content.data for content in contents])
        self._contents = contents
        for file, content in zip(self._files, contents, strict=True):
            if content.exposed:
                _log.warning("%s: %s: can be read by every user of this machine", file.setting, file.path)


def _without_waiting(path: str, flags: int) -> int:
    # To open a pipe would wait for its writer.
    return os.open(path, flags | os.O_NONBLOCK)
