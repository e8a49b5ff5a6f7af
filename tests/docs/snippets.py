"""The fenced snippets of a Markdown file, run one after the other as its reader would.

A python, bash or toml snippet runs; a text snippet after it is what it must have printed, where `...` stands for any
text and numbers count to the digits that are shown. A json snippet must be JSON. After `<!-- skip: next -->` one
snippet is not run. Snippets of one file share their Python names and their folder.
"""

import contextlib
import doctest
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sybil import Document, Example, Region
from sybil.evaluators.doctest import NUMBER, OutputChecker
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import SkipParser
from sybil.parsers.markdown.lexers import FencedCodeBlockLexer

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
DOCUMENTED_TARGET = "localhost:50051"

_SECONDS = 60
_LENIENCE = doctest.ELLIPSIS | NUMBER
_TERMINAL = {"TERM": "dumb", "COLUMNS": "110", "LINES": "40"}


@dataclass(frozen=True)
class Runner:
    """Runs the snippets of one file.

    Attributes:
        folder: Where they run. It looks like a clone of the repository after `make test`.
        printed: What the last snippet printed, if it did.
    """

    folder: Path
    printed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / ".venv").symlink_to(sys.prefix)
        (self.folder / ".venv-tritonclient").symlink_to(ROOT / ".venv-tritonclient")
        (self.folder / "examples").symlink_to(ROOT / "examples")

    def __call__(self, document: Document) -> Iterable[Region]:
        """Find the snippets and say how each is run: a parser, in the words of sybil."""
        kinds = {"python": self._python, "bash": self._bash, "text": self._text, "toml": self._toml, "json": self._json}
        for region in FencedCodeBlockLexer(".*", {"language": "language", "source": "source"})(document):
            region.parsed = region.lexemes["source"]
            region.evaluator = kinds.get(str(region.lexemes["language"]), _refuse)
            yield region

    def _python(self, example: Example) -> None:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            PythonEvaluator()(example)
        self.printed[:] = [printed.getvalue()]

    def _bash(self, example: Example) -> str | None:
        path = f"{Path(sys.prefix, 'bin')}{os.pathsep}{os.environ['PATH']}"
        environ = {**os.environ, **_TERMINAL, "PATH": path}
        code, printed = _in_terminal(["bash", "-euo", "pipefail", "-c", example.parsed], self.folder, environ)
        self.printed[:] = [printed]
        return f"exit code {code}:\n{printed}" if code else None

    def _text(self, example: Example) -> str | None:
        if not self.printed:
            return "there is nothing before it whose output this could be"
        wanted, got = _tidy(example.parsed), _tidy(self.printed.pop())
        if OutputChecker().check_output(wanted, got, _LENIENCE):
            return None
        return OutputChecker().output_difference(doctest.Example("", wanted), got, _LENIENCE | doctest.REPORT_NDIFF)

    def _toml(self, example: Example) -> str | None:
        file = self.folder / "server.toml"
        file.write_text(example.parsed)
        command = [sys.executable, "-m", "gradserve", "serve", "--check-config", "--config", file]
        checked = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        return checked.stderr or "refused" if checked.returncode else None

    def _json(self, example: Example) -> None:
        json.loads(example.parsed)


def read(path: Path, runner: Runner, target: str) -> Document:
    """The file's snippets, with the address of a running server in the place of the one that readers use."""
    document = Document(path.read_text().replace(DOCUMENTED_TARGET, target), str(path))
    for parser in (runner, SkipParser()):
        for region in parser(document):
            document.add(region)
    return document


def skipped() -> list[str]:
    """The bash snippets that are not run here, of all files in their order."""
    marker = "<!-- skip: next -->\n\n```bash\n"
    return [text.partition("```")[0] for path in DOCUMENTS for text in path.read_text().split(marker)[1:]]


def _tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n") + "\n"


def _refuse(example: Example) -> str:
    return f"no way to run a snippet in {example.region.lexemes['language'] or 'no language'}"


def _in_terminal(command: list[str], folder: Path, environ: Mapping[str, str]) -> tuple[int, str]:
    """Run a command whose output goes to a terminal, as its reader's does; give its exit code and what it printed."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        printed = b"".join(_chunks(ours)).decode().replace("\r\n", "\n")
        os.close(ours)
        return process.wait(_SECONDS), printed


def _chunks(terminal: int) -> Iterator[bytes]:
    # Linux ends a terminal that nobody writes to any more with an error, macOS with nothing to read.
    with contextlib.suppress(OSError):
        while chunk := os.read(terminal, 4096):
            yield chunk
