"""The exit codes of the command line, and the one line that says why."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

import click

import gradserve

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MEANINGS", "ExitCode", "describe", "exit_code_of", "one_line"]


class ExitCode(IntEnum):
    """How a command ended, for scripts."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    NOT_FOUND = 3
    INVALID = 4
    UNAVAILABLE = 5
    CONFLICT = 6
    EXHAUSTED = 7
    DENIED = 8
    DEVICE_FAILED = 9
    # 128 and the signal's number, as shells have it.
    INTERRUPTED = 130
    CLOSED_PIPE = 141
    TERMINATED = 143


MEANINGS: Final[Mapping[ExitCode, str]] = {
    ExitCode.OK: "Done.",
    ExitCode.FAILURE: (
        "A check of derivatives that failed, a bug in the server, an output that cannot be written, or anything else "
        "without its own code."
    ),
    ExitCode.USAGE: "The command line is wrong, or a file that it names cannot be read; nothing was sent.",
    ExitCode.NOT_FOUND: "There is no such model or checkpoint.",
    ExitCode.INVALID: "The request is refused for what it says: INVALID_ARGUMENT, OUT_OF_RANGE, UNIMPLEMENTED.",
    ExitCode.UNAVAILABLE: "The server is out of reach, too slow, or does not serve: UNAVAILABLE, DEADLINE_EXCEEDED.",
    ExitCode.CONFLICT: "The request does not fit the state: ALREADY_EXISTS, FAILED_PRECONDITION, ABORTED.",
    ExitCode.EXHAUSTED: "Too large, or the server is full: RESOURCE_EXHAUSTED.",
    ExitCode.DENIED: "No right to it: UNAUTHENTICATED, PERMISSION_DENIED.",
    ExitCode.DEVICE_FAILED: "A device of the server that was run here has failed: start it again.",
    ExitCode.INTERRUPTED: "Ctrl-C; of `gradserve serve`, a second one.",
    ExitCode.CLOSED_PIPE: "Whoever read the output has stopped reading.",
    ExitCode.TERMINATED: "SIGTERM; of `gradserve serve`, a second one.",
}
"""What `gradserve --help` says of each."""

_OF_STATUS: Final[Mapping[str, ExitCode]] = {
    "NOT_FOUND": ExitCode.NOT_FOUND,
    "INVALID_ARGUMENT": ExitCode.INVALID,
    "OUT_OF_RANGE": ExitCode.INVALID,
    "UNIMPLEMENTED": ExitCode.INVALID,
    "UNAVAILABLE": ExitCode.UNAVAILABLE,
    "DEADLINE_EXCEEDED": ExitCode.UNAVAILABLE,
    "ALREADY_EXISTS": ExitCode.CONFLICT,
    "FAILED_PRECONDITION": ExitCode.CONFLICT,
    "ABORTED": ExitCode.CONFLICT,
    "RESOURCE_EXHAUSTED": ExitCode.EXHAUSTED,
    "UNAUTHENTICATED": ExitCode.DENIED,
    "PERMISSION_DENIED": ExitCode.DENIED,
}


def exit_code_of(error: BaseException) -> ExitCode:
    """Return the exit code that an error ends the command with."""
    match error:
        case gradserve.Error():
            return _OF_STATUS.get(error.code.name, ExitCode.FAILURE)
        case click.ClickException():
            return ExitCode(error.exit_code)
        case KeyboardInterrupt():
            return ExitCode.INTERRUPTED
        case BrokenPipeError():
            return ExitCode.CLOSED_PIPE
        case _:
            return ExitCode.FAILURE


def describe(error: BaseException) -> str:
    """Return what an error says, on one line; empty for a closed pipe, which is nobody's fault."""
    match error:
        # Before OSError, which some of them are too.
        case gradserve.Error():
            return one_line(f"{error.code.name}: {_refusal(error)}")
        case click.ClickException():
            context = getattr(error, "ctx", None)
            hint = f" See '{context.command_path} --help'." if context else ""
            return one_line(error.format_message() + hint)
        case KeyboardInterrupt():
            return "interrupted"
        case BrokenPipeError():
            return ""
        case OSError(strerror=str() as reason):
            return one_line(f"cannot write {error.filename or 'the output'}: {reason}")
        case _:
            return one_line(str(error))


def one_line(text: str) -> str:
    """Return text for one line of a terminal: blanks folded, and what could steer the terminal escaped."""
    folded = " ".join(text.split())
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in folded)


def _refusal(error: gradserve.Error) -> str:
    """Return the message, with what it leaves out of the fields at fault, and with advice where there is some."""
    fields = [
        f"{item.field}: {item.description}" for item in error.field_violations if item.description not in error.message
    ]
    advice = ["is the server running, and is --server right?"] if isinstance(error, gradserve.UnavailableError) else []
    return "; ".join([error.message, *fields, *advice])
