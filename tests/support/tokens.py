"""Files of tokens for tests."""

from collections.abc import Iterable
from pathlib import Path

from gradserve_server.config import Right, make_token

ALL = tuple(right.value for right in Right)


class TokensFile:
    """A file of tokens that a test adds to and takes from."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: dict[str, str] = {}
        self._write()

    def add(self, name: str, rights: Iterable[str] = ALL, models: Iterable[str] = ("*",)) -> str:
        """Add a token, or put a new one in the place of that of the same name; give its text."""
        made = make_token(name, tuple(rights), tuple(models))
        self._lines[name] = made.line
        self._write()
        return made.text

    def remove(self, name: str) -> None:
        """Take a token out."""
        del self._lines[name]
        self._write()

    @property
    def flags(self) -> list[str]:
        """The flags of a server with these tokens."""
        return ["--set", f"server.tokens_file={self.path}"]

    def _write(self) -> None:
        # As an operator should: at once, and for nobody else to read.
        new = self.path.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text("\n".join(self._lines.values()))
        new.replace(self.path)
