"""Pages about weights: where they have gone, and what is kept of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.filesize import decimal
from rich.text import Text

from gradserve.cli.pages.page import plain_table, screen_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    import gradserve

__all__ = ["CheckpointsPage", "LoadedPage", "PulledPage", "PushedPage", "SavedPage"]

_PLAIN: Final = ("checkpoint", "version", "create_time", "size_bytes", "sha256", "automatic", "live")
_SCREEN: Final = ("checkpoint", "version", "created", "size", "")
_NUMBERS: Final = ("version", "size")


@dataclass(frozen=True)
class PushedPage:
    """Weights that a model has now."""

    name: str
    loaded: gradserve.LoadedStateDict

    def document(self) -> dict[str, Any]:
        """Return the model's name, its version, and the keys that did not match."""
        return {"pushed": self.name, **asdict(self.loaded)}

    def plain(self) -> str:
        """Return the version, and a line for each key that did not match."""
        missing = [f"missing: {key}" for key in self.loaded.missing_keys]
        unexpected = [f"unexpected: {key}" for key in self.loaded.unexpected_keys]
        return "\n".join([f"pushed {self.name}, version {self.loaded.version}", *missing, *unexpected])

    def screen(self, _width: int) -> RenderableType:
        """Return the same."""
        return Text(self.plain())


@dataclass(frozen=True)
class PulledPage:
    """A file that holds a model's weights."""

    path: str
    name: str
    version: int
    size_bytes: int

    def document(self) -> dict[str, Any]:
        """Return all of it."""
        return {"pulled": self.name, "version": self.version, "written": self.path, "size_bytes": self.size_bytes}

    def plain(self) -> str:
        """Return all of it."""
        return f"pulled {self.name}, version {self.version}: {self.path}, {self.size_bytes} bytes"

    def screen(self, _width: int) -> RenderableType:
        """Return the same."""
        return Text(f"pulled {self.name}, version {self.version}: {self.path}, {decimal(self.size_bytes)}")


@dataclass(frozen=True)
class SavedPage:
    """A new checkpoint."""

    name: str
    checkpoint: gradserve.Checkpoint

    def document(self) -> dict[str, Any]:
        """Return the model's name and all of the checkpoint."""
        return {"saved": self.name, "checkpoint": _document(self.checkpoint)}

    def plain(self) -> str:
        """Return the fact."""
        return f"saved {self.name}, version {self.checkpoint.version}, as {self.checkpoint.name}"

    def screen(self, _width: int) -> RenderableType:
        """Return the fact."""
        return Text(self.plain())


@dataclass(frozen=True)
class LoadedPage:
    """A checkpoint that is live now."""

    name: str
    checkpoint: str
    version: int

    def document(self) -> dict[str, Any]:
        """Return all of it."""
        return {"loaded": self.name, "checkpoint": self.checkpoint, "version": self.version}

    def plain(self) -> str:
        """Return the fact."""
        return f"loaded {self.checkpoint} into {self.name}, version {self.version}"

    def screen(self, _width: int) -> RenderableType:
        """Return the fact."""
        return Text(self.plain())


@dataclass(frozen=True)
class CheckpointsPage:
    """What is kept of a model's weights, one checkpoint in a line."""

    name: str
    checkpoints: Sequence[gradserve.Checkpoint]

    def document(self) -> dict[str, Any]:
        """Return every attribute of each."""
        return {"model": self.name, "checkpoints": list(map(_document, self.checkpoints))}

    def plain(self) -> str:
        """Return a table with tabs."""
        documents = map(_document, self.checkpoints)
        rows = ([document[name] for name in ("name", *_PLAIN[1:])] for document in documents)
        return plain_table(
            _PLAIN, ([str(cell).lower() if isinstance(cell, bool) else cell for cell in row] for row in rows)
        )

    def screen(self, _width: int) -> RenderableType:
        """Return a table in local time."""
        if not self.checkpoints:
            return Text(f"no checkpoints of {self.name}")
        return screen_table(_SCREEN, map(_row, self.checkpoints), numbers=_NUMBERS)


def _document(checkpoint: gradserve.Checkpoint) -> dict[str, Any]:
    return {**asdict(checkpoint), "create_time": checkpoint.create_time.isoformat()}


def _row(checkpoint: gradserve.Checkpoint) -> tuple[object, ...]:
    created = checkpoint.create_time.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    marks = [mark for mark in ("live", "automatic") if getattr(checkpoint, mark)]
    return checkpoint.name, checkpoint.version, created, decimal(checkpoint.size_bytes), ", ".join(marks)
