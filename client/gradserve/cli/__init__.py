"""The command line, `gradserve`.

Only `main` is public. Click, rich and the stubs of grpc.health.v1 come with an extra, so this file imports none of
them: without them it says what to install.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_EXTRA: Final = {"click", "grpc_health", "rich"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (see `gradserve --help`).

    Args:
        arguments: What follows the program's name. Default: as the process was started.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        from gradserve.cli.application import run  # noqa: PLC0415 - needs the extra
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        if missing not in _EXTRA:
            raise
        # The server's extra has the command line's in it.
        extra = "server" if words[:1] == ["serve"] else "cli"
        sys.stderr.write(f"gradserve: {missing} is not installed: pip install 'gradserve[{extra}]'\n")
        return 1
    return run(words)
