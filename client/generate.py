"""Writes gradserve/_sync from gradserve/_async: the same code without the awaiting; run it by `make sync`."""

import argparse
import io
import re
import subprocess
import sys
from pathlib import Path
from tokenize import NAME, generate_tokens

CLIENT = Path(__file__).resolve().parent
RUFF = Path(sys.executable).with_name("ruff")

NAMES = {"_async": "_sync", "_event_loop": "_threads", "asyncio": "time"}
PREFIXED = re.compile(r"Async(?=[A-Z])|(?<=__)a(?=(enter|exit)__)")
ANNOTATIONS = {r"\bAwaitable\[(\w+)\]": r"\1", r"\bgrpc\.aio\.": "grpc."}


def without_awaiting(source: str) -> str:
    """Returns the code of the sync client. Only names change: what strings and comments say holds for both clients."""
    lines = source.splitlines(keepends=True)
    for token in reversed(list(generate_tokens(io.StringIO(source).readline))):
        if token.type == NAME:
            row, start, end = token.start[0] - 1, token.start[1], token.end[1]
            line = lines[row]
            lines[row] = line[:start] + _renamed(token.string, line[end:])
    code = "".join(lines)
    for awaited, plain in ANNOTATIONS.items():
        code = re.sub(awaited, plain, code)
    return code


def _renamed(name: str, rest: str) -> str:
    if name in {"async", "await"}:
        return rest.removeprefix(" ")
    return NAMES.get(name, PREFIXED.sub("", name)) + rest


def formatted(source: str, path: Path) -> str:
    """Returns the code in its one format: shorter lines may join, and some imports are not needed any more."""
    for command in (["check", "--select=F401,I", "--fix", "--quiet"], ["format"]):
        ended = subprocess.run(  # noqa: S603 - it runs what is installed beside this interpreter
            [RUFF, *command, f"--stdin-filename={path}", "-"],
            cwd=CLIENT,
            input=source,
            capture_output=True,
            text=True,
            check=True,
        )
        source = ended.stdout
    return source


def generate(out: Path) -> None:
    """Replaces the modules of gradserve._sync below `out`."""
    package = out / "gradserve" / "_sync"
    package.mkdir(parents=True, exist_ok=True)
    for stale in package.glob("*.py"):
        stale.unlink()
    for source in sorted((CLIENT / "gradserve" / "_async").glob("*.py")):
        code = without_awaiting(source.read_text())
        written = CLIENT / "gradserve" / "_sync" / source.name
        note = f"# Written by client/generate.py from gradserve/_async/{source.name}: edit that, and run `make sync`.\n"
        (package / source.name).write_text(note + formatted(code, written))


def main() -> None:
    """Generates into client/, or into the folder given by --out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=CLIENT, help="where to write the package (default: client/)")
    generate(parser.parse_args().out)


if __name__ == "__main__":
    main()
