"""Each peer's packages, in a virtual environment of its own outside the repository; torch is shared by all."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.catalogue import Peer

DEFAULT_FOLDER = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "gradserve-benchmarks")
"""Where environments are kept unless the user says otherwise."""

_TORCH = ("torch==2.13.0", "numpy")


class InstallationError(Exception):
    """What pip says when it cannot install something."""


@dataclass(frozen=True)
class Environments:
    """The environments in a folder.

    Attributes:
        folder: Where they are.
    """

    folder: Path

    def python(self, peer: Peer) -> Path:
        """The Python that has a peer's packages."""
        return self.folder / peer.name / "bin" / "python"

    def is_ready(self, peer: Peer) -> bool:
        """Whether a peer's packages are all there."""
        return self._mark(peer).exists()

    def set_up(self, peer: Peer) -> None:
        """Install a peer and torch; a second time does nothing.

        Raises:
            InstallationError: pip could not.
        """
        if self.is_ready(peer):
            return
        torch = self._set_up_torch()
        _run(peer.python, "-m", "venv", "--clear", str(self.folder / peer.name))
        _run(str(self.python(peer)), "-m", "pip", "install", "--quiet", peer.requirement)
        # Its own packages come first on the path, then those that torch came with.
        (packages,) = (self.folder / peer.name / "lib").glob("python*/site-packages")
        (packages / "torch.pth").write_text(f"{torch}\n")
        _run(str(self.python(peer)), "-c", "import torch")
        self._mark(peer).touch()

    def _set_up_torch(self) -> Path:
        folder = self.folder / "torch"
        done = folder / "installed"
        if not done.exists():
            _run(sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--target", str(folder), *_TORCH)
            done.touch()
        return folder

    def _mark(self, peer: Peer) -> Path:
        """The file that says that a peer is installed, in this version."""
        return self.folder / peer.name / f"installed-{peer.requirement}"


def _run(*command: str) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    if ended.returncode:
        errors = [line for line in ended.stderr.splitlines() if line.startswith("ERROR")]
        raise InstallationError("\n".join(errors) or ended.stderr)
