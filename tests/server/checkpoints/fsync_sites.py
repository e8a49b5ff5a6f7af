"""The places in the store's code that ask for an fsync."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from gradserve_server import checkpoints


def fsync_sites() -> list[str]:
    """Each as `file.function:line`, in the order of the files."""
    return [site for file in sorted(Path(checkpoints.__path__[0]).glob("*.py")) for site in _sites(file)]


def _sites(file: Path) -> Iterator[str]:
    functions = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)]
    for function in functions:
        for node in ast.walk(function):
            match node:
                case ast.Call(func=ast.Attribute(attr="sync" | "sync_folder")):
                    yield f"{file.stem}.{function.name}:{node.lineno}"
