"""Where lines go: to a stream that may be slow, without waiting for it."""

from __future__ import annotations

import logging
import queue
import threading
from contextlib import suppress
from typing import TextIO

_MOST_LINES = 10_000
_LAST_SECONDS = 1.0


class BackgroundHandler(logging.Handler):
    """Writes lines on a thread of its own. What comes while many wait is lost, and a line says how many were.

    Lines are made where they are logged: there it is known which call is being answered, and nothing that a record
    refers to is kept.
    """

    def __init__(self, stream: TextIO, max_lines: int = _MOST_LINES) -> None:
        """Start the thread.

        Args:
            stream: Where to write.
            max_lines: The most lines that wait.
        """
        super().__init__()
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(max_lines)
        self._lost = 0
        self._counting = threading.Lock()
        self._thread = threading.Thread(target=self._write, name="gradserve-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Have a record written; called by `handle`, which holds the handler's lock."""
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._lose()

    def close(self) -> None:
        """Write what waits, as far as the stream takes it within a second or two."""
        with suppress(queue.Full):
            self._lines.put(None, timeout=_LAST_SECONDS)
        self._thread.join(_LAST_SECONDS)
        super().close()

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            self._put(line)
            if self._lost:
                self._put(self._loss())

    def _put(self, line: str) -> None:
        try:
            self._stream.write(f"{line}\n")
            self._stream.flush()
        except (OSError, ValueError):
            # Nobody reads any more. There is nowhere to tell that, and it is no reason to stop serving.
            self._lose()

    def _lose(self) -> None:
        with self._counting:
            self._lost += 1

    def _loss(self) -> str:
        with self._counting:
            lost, self._lost = self._lost, 0
        message = "%d lines are missing here: they came faster than they were read"
        return self.format(logging.LogRecord(__name__, logging.WARNING, __file__, 0, message, (lost,), None))
