"""A file of weights that is written before anybody knows whether it will be kept."""

from __future__ import annotations

from contextlib import ExitStack, suppress

from gradserve_server.checkpoints.failures import told_as_refusals
from gradserve_server.checkpoints.files import Files, Sink
from gradserve_server.checkpoints.leftovers import remove
from gradserve_server.checkpoints.manifest import WeightsFile
from gradserve_server.checkpoints.names import new_draft


class Draft:
    """Weights in a model's folder under a name of their own: written, finished, and then adopted by the store.

    The store may change the model meanwhile. The methods block, and are called one at a time; what they raise leaves
    the draft to be discarded, as it always must be in the end.
    """

    def __init__(self, files: Files, model: str, drafts: set[str]) -> None:
        """Take a name, and put it among those that are not to be swept away."""
        self._files = files
        self._model = model
        self._drafts = drafts
        self._name = new_draft()
        drafts.add(self._name)
        self._opened = ExitStack()
        self._sink: Sink | None = None
        self._size = 0
        self._sha256 = b""

    def write(self, data: bytes) -> None:
        """Append the next bytes. There is no file before the first.

        Raises:
            ResourceExhausted: If the disk is full.
            Unavailable: If it fails in another way, or the model's folder is gone.
        """
        with told_as_refusals(f"keep {self._model}"):
            if self._sink is None:
                self._sink = self._opened.enter_context(self._files.create(self._model, self._name))
            self._sink.write(data)
        self._size += len(data)

    def finish(self, sha256: bytes) -> None:
        """Make what was written durable.

        Args:
            sha256: Of all of it, which the caller has computed.

        Raises:
            ResourceExhausted: If the disk is full.
            Unavailable: If it fails in another way.
        """
        with told_as_refusals(f"keep {self._model}"), self._opened:
            if self._sink is not None:
                self._sink.sync()
        self._sha256 = sha256

    def rename(self, file: str) -> WeightsFile:
        """Give it the name of a file of weights.

        Raises:
            OSError: If the disk refuses that, after which it may have either name.
        """
        self._files.rename(self._model, self._name, file)
        return WeightsFile(file=file, size_bytes=self._size, sha256=self._sha256)

    def discard(self) -> None:
        """Remove the file, if there is one and it was not renamed."""
        with suppress(OSError):
            self._opened.close()
        remove(self._files, self._model, [self._name])
        self._drafts.discard(self._name)
